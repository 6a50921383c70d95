#include "titan/nn/rms_norm.h"

#include <ATen/TensorOperators.h>

#include "titan/kernels/rms_norm.h"

namespace titan::nn {

RMSNorm::RMSNorm(int64_t dim, double eps, at::ScalarType dtype) : weight(this, "weight", {dim}, dtype), eps_(eps) {}

at::Tensor RMSNorm::forward(const at::Tensor& x) { return kernels::rms_norm(x, weight, eps_); }

std::pair<at::Tensor, at::Tensor> RMSNorm::of_sum(const at::Tensor& x, const at::Tensor& delta) {
  if (!is_hooked()) return kernels::rms_norm_of_sum(x, delta, weight, eps_);
  const at::Tensor sum = x + delta;
  return {sum, (*this)(sum)};
}

}  // namespace titan::nn
