// silu(gate) * up, what a SwiGLU layer has between its products (Shazeer 2020, arXiv 2002.05202, equation 5), with its
// gradient, in one pass each way.
#pragma once

#include <ATen/core/Tensor.h>

namespace titan::kernels {

// gate, up: the same shape and floating dtype, any strides. Returns that, contiguous; what is below float32 is computed
// in float32 and rounded once. For the backward it keeps gate and up, not silu(gate). No second derivatives.
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);

}  // namespace titan::kernels
