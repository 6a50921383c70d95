// y = x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and Sennrich 2019, arXiv 1910.07467, equation
// 4), with its gradient, in one pass over the rows each way.
#pragma once

#include <ATen/core/Tensor.h>

namespace titan::kernels {

// x: [..., dim], any strides; weight: [dim]. Returns [..., dim], contiguous, of x's dtype; what is below float32 is
// computed in float32 and rounded once. For the backward it keeps x, weight and one number a row. The gradient of
// `weight` is summed over rows in an order that depends on the sizes only. No second derivatives.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

}  // namespace titan::kernels
