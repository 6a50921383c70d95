// A transformer block of two layers' kinds, for tests: attention with grouped queries and a SwiGLU, each after a norm.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/dropout.h>

#include "tests/support/tensors.h"
#include "titan/nn/attention.h"
#include "titan/nn/feed_forward.h"
#include "titan/nn/init.h"
#include "titan/nn/rms_norm.h"
#include "titan/nn/rotary.h"

namespace titan::test {

struct Block : nn::Callable<Block> {
  nn::Child<nn::Attention> attention;
  nn::Child<nn::FeedForward> feed_forward;
  nn::Child<nn::RMSNorm> attention_norm, ffn_norm;
  double dropout = 0;

  explicit Block(at::ScalarType dtype = at::kFloat)
      : attention(this, "attention",
                  std::make_shared<nn::Attention>(
                      nn::AttentionSizes{.dim = 24, .n_heads = 3, .n_kv_heads = 1, .head_dim = 8}, dtype)),
        feed_forward(this, "feed_forward", std::make_shared<nn::FeedForward>(24, 40, dtype)),
        attention_norm(this, "attention_norm", std::make_shared<nn::RMSNorm>(24, 1e-5, dtype)),
        ffn_norm(this, "ffn_norm", std::make_shared<nn::RMSNorm>(24, 1e-5, dtype)) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor& freqs_cis) {
    at::Tensor h = x + attention(attention_norm(x), freqs_cis);
    if (dropout > 0) h = at::dropout(h, dropout, /*train=*/true);
    return h + feed_forward(ffn_norm(h));
  }
};

struct Blocks : nn::Callable<Blocks> {
  nn::Child<nn::ModuleList<Block>> layers;

  explicit Blocks(int64_t num_layers, at::ScalarType dtype = at::kFloat)
      : layers(this, "layers", std::make_shared<nn::ModuleList<Block>>()) {
    for (int64_t i = 0; i < num_layers; ++i) layers->append(std::make_shared<Block>(dtype));
    to_empty(at::kCPU);
    uint64_t seed = 1;
    const at::NoGradGuard no_grad;
    for (nn::Parameter* parameter : parameters()) {
      parameter->get().copy_(random(parameter->get().sizes(), seed++) * 0.2);
    }
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& freqs_cis) {
    at::Tensor h = x;
    for (int64_t i = 0; i < layers->size(); ++i) h = (*layers)[i](h, freqs_cis);
    return h;
  }
};

}  // namespace titan::test
