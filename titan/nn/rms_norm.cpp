#include "titan/nn/rms_norm.h"

#include <ATen/TensorOperators.h>

#include "titan/kernels/rms_norm.h"
#include "titan/nn/discarded_result.h"

namespace titan::nn {

RMSNorm::RMSNorm(int64_t dim, double eps, at::ScalarType dtype) : weight(this, "weight", {dim}, dtype), eps_(eps) {}

at::Tensor RMSNorm::forward(const at::Tensor& x) { return kernels::rms_norm(x, weight, eps_); }

std::pair<at::Tensor, at::Tensor> RMSNorm::of_sum(const at::Tensor& x, const at::Tensor& delta) {
  if (!is_hooked()) return kernels::rms_norm_of_sum(x, delta, weight, eps_);
  const at::Tensor sum = x + delta;
  return {sum, (*this)(sum)};
}

at::Tensor RMSNorm::use_and_discard(const at::Tensor& x, const at::Tensor& y,
                                    const std::function<at::Tensor(const at::Tensor&)>& use) {
  if (is_hooked()) return use(y);
  // The weight of now: in the backward, techniques may have put another one in its place.
  const auto again = [x, now = weight.get(), eps = eps_] { return kernels::rms_norm(x, now, eps); };
  return nn::use_and_discard(y, again, use);
}

}  // namespace titan::nn
