// The operators of ours as ATen's dispatcher knows them, "titan::<name>": schemas and CPU kernels are registered here,
// CUDA kernels by libtitan_cuda.so (cuda_operators.cpp). Callers use each operator's own header.
#pragma once

#include <ATen/core/Tensor.h>

namespace c10 {
class OperatorHandle;
}

namespace titan::kernels {

// Registers all of them at the first call. `name` without "titan::".
c10::OperatorHandle find_operator(const char* name);

// --- kernels, by device; contracts stand in the operators' headers ---

at::Tensor sum_of_squares_cpu(at::TensorList tensors);
at::Tensor sum_of_squares_cuda(at::TensorList tensors);

at::Tensor& random_normal_cpu(at::Tensor& x, int64_t seed, int64_t stream, double mean, double std, double low,
                              double high, at::IntArrayRef whole, at::IntArrayRef offsets);
at::Tensor& random_normal_cuda(at::Tensor& x, int64_t seed, int64_t stream, double mean, double std, double low,
                               double high, at::IntArrayRef whole, at::IntArrayRef offsets);

}  // namespace titan::kernels
