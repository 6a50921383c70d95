// What the loss, the trainer and the techniques need of a language model, whichever it is.
#pragma once

#include <vector>

#include "titan/nn/init.h"
#include "titan/nn/linear.h"
#include "titan/nn/module.h"
#include "titan/nn/token_places.h"

namespace titan::models {

// The parts that techniques treat one by one, in the order of the forward. Together they have every parameter of the
// model. Parts that are absent (on other pipeline stages) are left out.
struct ModelParts {
  std::vector<nn::Module*> input;   // from tokens to hidden states: embeddings
  std::vector<nn::Module*> blocks;  // repeated, all alike
  std::vector<nn::Module*> output;  // the last norm and the output layer, which work right after each other
};

class LanguageModel : public nn::Callable<LanguageModel> {
 public:
  // tokens: [batch, seq] int64, standing at `places` -> hidden states [batch, seq, dim], ready for the output layer.
  // The logits are the loss's to compute, chunk by chunk: whole, they would be the largest tensor of the step.
  virtual at::Tensor forward(const at::Tensor& tokens, const nn::TokenPlaces& places) = 0;
  at::Tensor forward(const at::Tensor& tokens) { return forward(tokens, {}); }

  virtual ModelParts parts() = 0;

  // dim -> vocab_size.
  virtual nn::Child<nn::Linear>& output_layer() = 0;

  // Gives every parameter and buffer its first value. Call after to_empty.
  virtual void init_weights(const nn::Initializer& initializer) = 0;

  // Model FLOPs of one token's forward and backward by TorchTitan's formula: 6 * (parameters without the embedding)
  // + 12 * layers * heads * head_dim * seq_len.
  virtual double flops_per_token(int64_t seq_len) const = 0;
};

}  // namespace titan::models
