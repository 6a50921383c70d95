// CUDA kernels of our operators; part of libtitan_cuda.so.
#pragma once

namespace titan::kernels {

// Registers them with ATen's dispatcher; a second call does nothing.
void register_cuda_kernels();

}  // namespace titan::kernels
