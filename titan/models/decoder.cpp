#include "titan/models/decoder.h"

#include <ATen/TensorOperators.h>

#include <cmath>

#include "titan/nn/rotary.h"

namespace titan::models {
namespace {

constexpr double kWeightStd = 0.02;

std::shared_ptr<nn::ModuleList<DecoderBlock>> make_layers(const DecoderSizes& sizes, at::ScalarType dtype) {
  auto layers = std::make_shared<nn::ModuleList<DecoderBlock>>();
  for (int64_t i = 0; i < sizes.n_layers; ++i) layers->append(std::make_shared<DecoderBlock>(sizes, i, dtype));
  return layers;
}

std::optional<double> qk_norm_eps(const DecoderSizes& sizes) {
  return sizes.qk_norm ? std::optional(sizes.norm_eps) : std::nullopt;
}

at::Tensor make_freqs_cis(const DecoderSizes& sizes, int64_t max_positions, at::Device device) {
  return nn::precompute_freqs_cis(sizes.head_dim, max_positions, sizes.rope_theta, sizes.rope_scaling, device);
}

}  // namespace

DecoderBlock::DecoderBlock(const DecoderSizes& sizes, int64_t layer_index, at::ScalarType dtype)
    : attention(this, "attention",
                std::make_shared<nn::Attention>(
                    nn::AttentionSizes{sizes.dim, sizes.n_heads, sizes.n_kv_heads, sizes.head_dim}, dtype,
                    nn::AttentionOptions{.rotary_pairs = sizes.rotary_pairs,
                                         .qk_norm_eps = qk_norm_eps(sizes),
                                         .window = sizes.attention_window})),
      feed_forward(this, "feed_forward", std::make_shared<nn::FeedForward>(sizes.dim, sizes.ffn_hidden_dim, dtype)),
      attention_norm(this, "attention_norm", std::make_shared<nn::RMSNorm>(sizes.dim, sizes.norm_eps, dtype)),
      ffn_norm(this, "ffn_norm", std::make_shared<nn::RMSNorm>(sizes.dim, sizes.norm_eps, dtype)) {
  // Each block adds two terms to the residual stream, so its variance stays bounded if they shrink with the depth.
  const int64_t depth = sizes.depth_init ? layer_index + 1 : sizes.n_layers;
  output_std_ = kWeightStd / std::sqrt(2.0 * static_cast<double>(depth));
}

at::Tensor DecoderBlock::forward(const at::Tensor& x, const at::Tensor& freqs_cis, const nn::Documents& documents) {
  const at::Tensor attended = attention_norm->use_and_discard(
      x, attention_norm(x), [&](const at::Tensor& normed) { return attention(normed, freqs_cis, documents); });
  const auto [h, normed] = ffn_norm->of_sum(x, attended);
  return h + ffn_norm->use_and_discard(h, normed, [&](const at::Tensor& y) { return feed_forward(y); });
}

void DecoderBlock::init_weights(const nn::Initializer& initializer) {
  initializer.ones(attention_norm->weight);
  initializer.ones(ffn_norm->weight);
  if (attention->q_norm) initializer.ones(attention->q_norm->weight);
  if (attention->k_norm) initializer.ones(attention->k_norm->weight);
  for (nn::Child<nn::Linear>* linear : {&attention->wq, &attention->wk, &attention->wv, &feed_forward->w1}) {
    initializer.trunc_normal((*linear)->weight, 0.0, kWeightStd);
  }
  for (nn::Child<nn::Linear>* linear : {&attention->wo, &feed_forward->w2, &feed_forward->w3}) {
    initializer.trunc_normal((*linear)->weight, 0.0, output_std_);
  }
}

Decoder::Decoder(const DecoderSizes& sizes, int64_t max_positions, at::ScalarType dtype)
    : freqs_cis(this, "freqs_cis", make_freqs_cis(sizes, max_positions, at::kMeta)),
      tok_embeddings(this, "tok_embeddings", std::make_shared<nn::Embedding>(sizes.vocab_size, sizes.dim, dtype)),
      layers(this, "layers", make_layers(sizes, dtype)),
      norm(this, "norm", std::make_shared<nn::RMSNorm>(sizes.dim, sizes.norm_eps, dtype)),
      output(this, "output", std::make_shared<nn::Linear>(sizes.dim, sizes.vocab_size, dtype)),
      sizes_(sizes) {
  if (sizes.tie_embeddings) output->weight.set(tok_embeddings->weight);
}

at::Tensor Decoder::forward(const at::Tensor& tokens, const nn::TokenPlaces& places) {
  at::Tensor h = tok_embeddings ? tok_embeddings(tokens) : tokens;
  const at::Tensor turns = places.positions.defined() ? freqs_cis.get().index({places.positions}) : freqs_cis.get();
  for (int64_t i = 0; i < layers->size(); ++i) {
    if ((*layers)[i]) h = (*layers)[i](h, turns, places.documents);
  }
  return norm ? norm(h) : h;
}

ModelParts Decoder::parts() {
  ModelParts parts;
  const auto add = [](std::vector<nn::Module*>& to, nn::Module* module) {
    if (module != nullptr) to.push_back(module);
  };
  add(parts.input, tok_embeddings.module());
  for (int64_t i = 0; i < layers->size(); ++i) add(parts.blocks, (*layers)[i].module());
  add(parts.output, norm.module());
  add(parts.output, output.module());
  return parts;
}

void Decoder::init_weights(const nn::Initializer& initializer) {
  const at::Tensor& old = freqs_cis.get();
  freqs_cis.set(make_freqs_cis(sizes_, old.size(0), old.device()));
  // Tied, the one tensor is the output layer's, as there its scale decides the first loss.
  const bool tied = sizes_.tie_embeddings;
  if (tok_embeddings && !tied) initializer.normal(tok_embeddings->weight);
  for (int64_t i = 0; i < layers->size(); ++i) {
    if ((*layers)[i]) (*layers)[i]->init_weights(initializer);
  }
  if (norm) initializer.ones(norm->weight);
  if (output || (tok_embeddings && tied)) {
    const double std = 1.0 / std::sqrt(static_cast<double>(sizes_.dim));
    nn::Parameter& weight = output ? output->weight : tok_embeddings->weight;
    initializer.as("output.weight").trunc_normal(weight, 0.0, std, -3 * std, 3 * std);
  }
}

double Decoder::flops_per_token(int64_t seq_len) const {
  int64_t num_parameters = 0;
  for (const nn::Parameter* parameter : parameters()) num_parameters += parameter->get().numel();
  const int64_t num_embedding = tok_embeddings ? tok_embeddings->weight.get().numel() : 0;
  return 6.0 * static_cast<double>(num_parameters - num_embedding) +
         12.0 * static_cast<double>(sizes_.n_layers * sizes_.n_heads * sizes_.head_dim * seq_len);
}

}  // namespace titan::models
