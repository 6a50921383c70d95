// The dense decoder that Llama, Qwen and others are sizes of: blocks of x + attention(norm(x)) and x + ffn(norm(x))
// with RMSNorm before each sublayer (Touvron et al. 2023, arXiv 2302.13971, section 2.2), rotary positions and SwiGLU,
// as a plain single-device module. It knows no parallelism: decoder_sharding and parallelize rewrite it from outside.
// FQNs and initial distributions are TorchTitan's.
#pragma once

#include "titan/models/decoder_sizes.h"
#include "titan/models/language_model.h"
#include "titan/nn/attention.h"
#include "titan/nn/embedding.h"
#include "titan/nn/feed_forward.h"
#include "titan/nn/rms_norm.h"

namespace titan::models {

class DecoderBlock : public nn::Callable<DecoderBlock> {
 public:
  DecoderBlock(const DecoderSizes& sizes, int64_t layer_index, at::ScalarType dtype);

  // x: [batch, seq, dim] -> the same shape. freqs_cis, documents: as nn::Attention has them.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& freqs_cis, const nn::Documents& documents = {});

  void init_weights(const nn::Initializer& initializer);

  nn::Child<nn::Attention> attention;
  nn::Child<nn::FeedForward> feed_forward;
  nn::Child<nn::RMSNorm> attention_norm;
  nn::Child<nn::RMSNorm> ffn_norm;

 private:
  double output_std_;  // of the projections that write into the residual stream
};

class Decoder : public LanguageModel {
 public:
  // On the meta device. Buffers serve `max_positions` positions.
  Decoder(const DecoderSizes& sizes, int64_t max_positions, at::ScalarType dtype);

  // tokens: [batch, seq] int64 (a pipeline stage without the embedding: hidden states) -> [batch, seq, dim]
  at::Tensor forward(const at::Tensor& tokens, const nn::TokenPlaces& places) override;

  ModelParts parts() override;
  nn::Child<nn::Linear>& output_layer() override { return output; }
  void init_weights(const nn::Initializer& initializer) override;
  double flops_per_token(int64_t seq_len) const override;

  nn::Buffer freqs_cis;
  nn::Child<nn::Embedding> tok_embeddings;
  nn::Child<nn::ModuleList<DecoderBlock>> layers;
  nn::Child<nn::RMSNorm> norm;
  nn::Child<nn::Linear> output;

 private:
  DecoderSizes sizes_;
};

}  // namespace titan::models
