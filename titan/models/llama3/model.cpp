#include "titan/models/llama3/model.h"

#include <ATen/TensorOperators.h>

#include <cmath>

#include "titan/nn/rotary.h"

namespace titan::models::llama3 {
namespace {

constexpr double kWeightStd = 0.02;

std::shared_ptr<nn::ModuleList<TransformerBlock>> make_layers(const Config& config, at::ScalarType dtype) {
  auto layers = std::make_shared<nn::ModuleList<TransformerBlock>>();
  for (int64_t i = 0; i < config.n_layers; ++i) layers->append(std::make_shared<TransformerBlock>(config, i, dtype));
  return layers;
}

at::Tensor make_freqs_cis(const Config& config, int64_t max_positions, at::Device device) {
  return nn::precompute_freqs_cis(config.head_dim(), max_positions, config.rope_theta, config.rope_scaling, device);
}

}  // namespace

TransformerBlock::TransformerBlock(const Config& config, int64_t layer_index, at::ScalarType dtype)
    : attention(this, "attention",
                std::make_shared<nn::Attention>(
                    nn::AttentionSizes{config.dim, config.n_heads, config.num_kv_heads(), config.head_dim()}, dtype)),
      feed_forward(this, "feed_forward", std::make_shared<nn::FeedForward>(config.dim, config.ffn_hidden_dim(), dtype)),
      attention_norm(this, "attention_norm", std::make_shared<nn::RMSNorm>(config.dim, config.norm_eps, dtype)),
      ffn_norm(this, "ffn_norm", std::make_shared<nn::RMSNorm>(config.dim, config.norm_eps, dtype)) {
  // Each block adds two terms to the residual stream, so its variance stays bounded if they shrink with the depth.
  const int64_t depth = config.depth_init ? layer_index + 1 : config.n_layers;
  output_std_ = kWeightStd / std::sqrt(2.0 * static_cast<double>(depth));
}

at::Tensor TransformerBlock::forward(const at::Tensor& x, const at::Tensor& freqs_cis) {
  const at::Tensor h = x + attention(attention_norm(x), freqs_cis);
  return h + feed_forward(ffn_norm(h));
}

void TransformerBlock::init_weights(const nn::Initializer& initializer) {
  initializer.ones(attention_norm->weight);
  initializer.ones(ffn_norm->weight);
  for (nn::Child<nn::Linear>* linear : {&attention->wq, &attention->wk, &attention->wv, &feed_forward->w1}) {
    initializer.trunc_normal((*linear)->weight, 0.0, kWeightStd);
  }
  for (nn::Child<nn::Linear>* linear : {&attention->wo, &feed_forward->w2, &feed_forward->w3}) {
    initializer.trunc_normal((*linear)->weight, 0.0, output_std_);
  }
}

Transformer::Transformer(const Config& config, int64_t max_positions, at::ScalarType dtype)
    : freqs_cis(this, "freqs_cis", make_freqs_cis(config, max_positions, at::kMeta)),
      tok_embeddings(this, "tok_embeddings", std::make_shared<nn::Embedding>(config.vocab_size, config.dim, dtype)),
      layers(this, "layers", make_layers(config, dtype)),
      norm(this, "norm", std::make_shared<nn::RMSNorm>(config.dim, config.norm_eps, dtype)),
      output(this, "output", std::make_shared<nn::Linear>(config.dim, config.vocab_size, dtype)),
      config_(config) {
  if (config.tie_embeddings) output->weight.set(tok_embeddings->weight);
}

at::Tensor Transformer::forward(const at::Tensor& tokens) {
  at::Tensor h = tok_embeddings ? tok_embeddings(tokens) : tokens;
  for (int64_t i = 0; i < layers->size(); ++i) {
    if ((*layers)[i]) h = (*layers)[i](h, freqs_cis.get());
  }
  return norm ? norm(h) : h;
}

void Transformer::init_weights(const nn::Initializer& initializer) {
  const at::Tensor& old = freqs_cis.get();
  freqs_cis.set(make_freqs_cis(config_, old.size(0), old.device()));
  // Tied, the one tensor is the output layer's, as there its scale decides the first loss.
  const bool tied = tok_embeddings && output && tok_embeddings->weight.get().is_same(output->weight);
  if (tok_embeddings && !tied) initializer.normal(tok_embeddings->weight);
  for (int64_t i = 0; i < layers->size(); ++i) {
    if ((*layers)[i]) (*layers)[i]->init_weights(initializer);
  }
  if (norm) initializer.ones(norm->weight);
  if (output) {
    const double std = 1.0 / std::sqrt(static_cast<double>(config_.dim));
    initializer.trunc_normal(output->weight, 0.0, std, -3 * std, 3 * std);
  }
}

double Transformer::flops_per_token(int64_t seq_len) const {
  int64_t num_parameters = 0;
  for (const nn::Parameter* parameter : parameters()) num_parameters += parameter->get().numel();
  const int64_t num_embedding = tok_embeddings ? tok_embeddings->weight.get().numel() : 0;
  return 6.0 * static_cast<double>(num_parameters - num_embedding) +
         12.0 * static_cast<double>(config_.n_layers * config_.n_heads * config_.head_dim() * seq_len);
}

}  // namespace titan::models::llama3
