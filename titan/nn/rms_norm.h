// y = x / sqrt(mean(x^2) + eps) * weight over the last dim (Zhang and Sennrich 2019, arXiv 1910.07467, equation 4).
#pragma once

#include <functional>
#include <utility>

#include "titan/nn/module.h"

namespace titan::nn {

class RMSNorm : public Callable<RMSNorm> {
 public:
  RMSNorm(int64_t dim, double eps, at::ScalarType dtype);

  // x: [..., dim] -> the same shape and dtype; statistics in fp32 for lower precisions
  at::Tensor forward(const at::Tensor& x);

  // {x + delta, the norm of that}, of a residual stream: one pass over memory where nobody hooks into the call.
  std::pair<at::Tensor, at::Tensor> of_sum(const at::Tensor& x, const at::Tensor& delta);

  // use(y) of the y that one of these gave, the norm of x, with the same gradients. It is not kept for the backward but
  // computed again from x, which is there (discarded_result.h), unless somebody hooks into the calls.
  at::Tensor use_and_discard(const at::Tensor& x, const at::Tensor& y,
                             const std::function<at::Tensor(const at::Tensor&)>& use);

  Parameter weight;  // [dim]

 private:
  double eps_;
};

}  // namespace titan::nn
