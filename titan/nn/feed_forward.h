// The SwiGLU feed-forward layer: w2(silu(w1 x) * w3 x) (Shazeer 2020, arXiv 2002.05202, equation 6).
#pragma once

#include "titan/nn/linear.h"
#include "titan/nn/module.h"

namespace titan::nn {

class FeedForward : public Callable<FeedForward> {
 public:
  FeedForward(int64_t dim, int64_t hidden_dim, at::ScalarType dtype);

  // x: [..., dim] -> [..., dim]
  at::Tensor forward(const at::Tensor& x);

  Child<Linear> w1;  // gate: dim -> hidden_dim
  Child<Linear> w2;  // down: hidden_dim -> dim
  Child<Linear> w3;  // up: dim -> hidden_dim
};

}  // namespace titan::nn
