#include "titan/nn/rms_norm.h"

#include <ATen/ops/rms_norm.h>

namespace titan::nn {

RMSNorm::RMSNorm(int64_t dim, double eps, at::ScalarType dtype) : weight(this, "weight", {dim}, dtype), eps_(eps) {}

at::Tensor RMSNorm::forward(const at::Tensor& x) { return at::rms_norm(x, weight.get().sizes(), weight.get(), eps_); }

}  // namespace titan::nn
