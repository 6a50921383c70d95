// Llama 3 (Dubey et al. 2024, arXiv 2407.21783, section 3.2) as a plain single-device module. It knows no parallelism:
// sharding and parallelize live beside it and rewrite it from outside. FQNs are TorchTitan's.
#pragma once

#include "titan/models/language_model.h"
#include "titan/models/llama3/config.h"
#include "titan/nn/attention.h"
#include "titan/nn/embedding.h"
#include "titan/nn/feed_forward.h"
#include "titan/nn/rms_norm.h"

namespace titan::models::llama3 {

class TransformerBlock : public nn::Callable<TransformerBlock> {
 public:
  TransformerBlock(const Config& config, int64_t layer_index, at::ScalarType dtype);

  // x: [batch, seq, dim] -> the same shape. freqs_cis: [at least seq, head_dim / 2] complex64.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& freqs_cis);

  void init_weights(const nn::Initializer& initializer);

  nn::Child<nn::Attention> attention;
  nn::Child<nn::FeedForward> feed_forward;
  nn::Child<nn::RMSNorm> attention_norm;
  nn::Child<nn::RMSNorm> ffn_norm;

 private:
  double output_std_;  // of the projections that write into the residual stream
};

class Transformer : public LanguageModel {
 public:
  // On the meta device. Buffers serve `max_positions` positions.
  Transformer(const Config& config, int64_t max_positions, at::ScalarType dtype);

  // tokens: [batch, seq] int64 (a pipeline stage without the embedding: hidden states) -> [batch, seq, dim]
  at::Tensor forward(const at::Tensor& tokens) override;

  nn::Child<nn::Linear>& output_layer() override { return output; }
  void init_weights(const nn::Initializer& initializer) override;
  double flops_per_token(int64_t seq_len) const override;

  nn::Buffer freqs_cis;
  nn::Child<nn::Embedding> tok_embeddings;
  nn::Child<nn::ModuleList<TransformerBlock>> layers;
  nn::Child<nn::RMSNorm> norm;
  nn::Child<nn::Linear> output;

 private:
  Config config_;
};

}  // namespace titan::models::llama3
