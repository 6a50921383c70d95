// Compares an operator, forward and backward, with a reference that ATen composes in fp64.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

namespace titan::test {

using Tensors = std::vector<at::Tensor>;
using TensorFunction = std::function<at::Tensor(const Tensors&)>;

// `inputs`: fp32, of any strides, which are kept. They are rounded to `dtype`; `function` runs on that, `reference` on
// the same numbers in fp64. The result, its dtype and every input's gradient are compared as ||a - b|| / ||b||; 16-bit
// results within one rounding or two, `tolerance` counts for fp32 only.
void expect_like_reference(const std::string& name, const TensorFunction& function, const TensorFunction& reference,
                           const Tensors& inputs, at::ScalarType dtype, double tolerance = 1e-6);

// The same numbers in a tensor that is not contiguous: its dimension `dim` (not the last) is outermost in memory.
at::Tensor moved_outermost(const at::Tensor& x, int64_t dim);
// The same numbers, every other element of a larger tensor's rows.
at::Tensor every_other(const at::Tensor& x);

}  // namespace titan::test
