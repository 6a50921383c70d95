// sum(x^2), accurately: what a gradient norm is made of.
#pragma once

#include <ATen/core/Tensor.h>

namespace titan::kernels {

// tensors: any shapes and strides, floating dtypes, all on one device. Returns the sum over all elements of all of
// them: [] float64 on that device, or a 0 on the CPU where there are no tensors. Squares and sums in fp64, in an order
// that depends on the sizes only. On a GPU it is enqueued on the current stream and does not block.
at::Tensor sum_of_squares(at::TensorList tensors);

}  // namespace titan::kernels
