#include "titan/models/forward_backward.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <utility>

namespace titan::models {

MicrobatchLoop::MicrobatchLoop(std::shared_ptr<LanguageModel> model, StepHooks hooks)
    : model_(std::move(model)), hooks_(std::move(hooks)) {}

at::Tensor MicrobatchLoop::train(std::span<const TokenBatch> batches, const LossFunction& loss_of) {
  at::Tensor sum = at::zeros({}, batches.front().tokens.options().dtype(at::kDouble));
  for (size_t i = 0; i < batches.size(); ++i) {
    hooks_.before_microbatch(/*last=*/i + 1 == batches.size());
    const at::Tensor hidden = (*model_)(batches[i].tokens);
    const at::Tensor loss = loss_of(hidden, batches[i].labels, *model_->output_layer());
    loss.backward();
    sum += loss.detach();
  }
  hooks_.after_backward();
  return sum;
}

at::Tensor MicrobatchLoop::evaluate(const TokenBatch& batch, const LossFunction& loss_of) {
  const at::NoGradGuard no_grad;
  return loss_of((*model_)(batch.tokens), batch.labels, *model_->output_layer()).to(at::kDouble);
}

}  // namespace titan::models
