#include "titan/nn/rms_norm.h"

#include "titan/kernels/rms_norm.h"

namespace titan::nn {

RMSNorm::RMSNorm(int64_t dim, double eps, at::ScalarType dtype) : weight(this, "weight", {dim}, dtype), eps_(eps) {}

at::Tensor RMSNorm::forward(const at::Tensor& x) { return kernels::rms_norm(x, weight, eps_); }

}  // namespace titan::nn
