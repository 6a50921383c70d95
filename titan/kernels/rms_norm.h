// y = x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and Sennrich 2019, arXiv 1910.07467, equation
// 4), with its gradient, in one pass over the rows each way.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

namespace titan::kernels {

// x: [..., dim], any strides; weight: [dim]. Returns [..., dim], contiguous, of x's dtype; what is below float32 is
// computed in float32 and rounded once. For the backward it keeps x, weight and one number a row. The gradient of
// `weight` is summed over rows in an order that depends on the sizes only. No second derivatives.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// {x + delta, rms_norm(x + delta)} for a residual stream: the sum is written and normed in one pass, and its two
// gradients are added in another. x, delta: the same shape and dtype. For the backward it keeps the sum. The same
// numbers as the two operations one after the other, but that gradients below float32 are rounded once less.
std::pair<at::Tensor, at::Tensor> rms_norm_of_sum(const at::Tensor& x, const at::Tensor& delta,
                                                  const at::Tensor& weight, double eps);

}  // namespace titan::kernels
