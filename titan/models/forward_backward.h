// How a step's batches pass through the model on this rank, forward and backward: the seam between the trainer, which
// has batches and a loss, and the techniques that decide what runs where and when. A model in one piece runs batch
// after batch (MicrobatchLoop); a pipeline's stages have a schedule of their own (pipeline_parallelize.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <span>

#include "titan/models/language_model.h"

namespace titan::models {

// On the device that computes. tokens, labels: [batch, seq] int64; where ranks share sequences, of this rank's tokens.
struct TokenBatch {
  at::Tensor tokens;
  at::Tensor labels;
  nn::TokenPlaces places;
};

// The samples [begin, begin + size) of a batch.
TokenBatch samples_of(const TokenBatch& batch, int64_t begin, int64_t size);

// The sum of a batch's token losses, scaled: [], ready for backward() where gradients are recorded.
using LossFunction = std::function<at::Tensor(const at::Tensor& hidden, const at::Tensor& labels, nn::Linear& output)>;

class ForwardBackward {
 public:
  virtual ~ForwardBackward() = default;

  // Forward and backward of all of a step's batches. When it returns, gradients are added up over batches and over
  // ranks. Returns the sum of the losses, [] float64, the same on every rank that was given these batches. Collective.
  virtual at::Tensor train(std::span<const TokenBatch> batches, const LossFunction& loss) = 0;

  // The loss of one batch, [] float64 as above, without gradients. Collective.
  virtual at::Tensor evaluate(const TokenBatch& batch, const LossFunction& loss) = 0;
};

// What techniques want to be told by a MicrobatchLoop.
struct StepHooks {
  // Before each batch's forward; gradients are reduced over ranks in the last one's backward only.
  std::function<void(bool last)> before_microbatch = [](bool) {};
  // After the last batch's backward, before anyone looks at gradients. Collective.
  std::function<void()> after_backward = [] {};
};

// The whole model on this rank: forward, loss and backward of one batch after another.
class MicrobatchLoop : public ForwardBackward {
 public:
  MicrobatchLoop(std::shared_ptr<LanguageModel> model, StepHooks hooks);
  at::Tensor train(std::span<const TokenBatch> batches, const LossFunction& loss) override;
  at::Tensor evaluate(const TokenBatch& batch, const LossFunction& loss) override;

 private:
  std::shared_ptr<LanguageModel> model_;
  StepHooks hooks_;
};

}  // namespace titan::models
