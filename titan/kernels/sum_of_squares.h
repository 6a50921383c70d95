// sum(x^2), accurately: the part of a gradient norm that one tensor contributes.
#pragma once

#include <ATen/core/Tensor.h>

namespace titan::kernels {

// x: any shape and strides, a floating dtype. Squares and sums in fp64, in an order that depends on numel only.
// Blocks the host until the value is there.
double sum_of_squares(const at::Tensor& x);

}  // namespace titan::kernels
