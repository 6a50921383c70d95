// The entry of libtitan_cuda.so: makes a GPU this process's own, and brings ATen what it lacks without CUDA.
#include <ATen/Context.h>
#include <ATen/SDPBackend.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>

#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "titan/device/compute_device.h"
#include "titan/distributed/nccl_backend.h"
#include "titan/distributed/symmetric_memory.h"
#include "titan/kernels/cuda_operators.h"

namespace {

void forbid_synchronisation(bool forbid) {
  c10::cuda::warning_state().set_sync_debug_mode(forbid ? c10::cuda::SyncDebugMode::L_ERROR
                                                        : c10::cuda::SyncDebugMode::L_DISABLED);
}

}  // namespace

extern "C" void titan_open_cuda(int64_t gpu, titan::device::ComputeDevice& device) {
  const auto index = static_cast<c10::DeviceIndex>(gpu);
  at::globalContext().lazyInitDevice(at::kCUDA);
  c10::cuda::set_device(index);
  cudaDeviceProp properties{};
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));

  device.device = at::Device(at::kCUDA, index);
  device.name = properties.name;
  device.make_backend = titan::distributed::make_nccl;
  device.make_partwise = titan::distributed::make_symmetric_partwise;
  device.forbid_synchronisation = forbid_synchronisation;
  titan::kernels::register_cuda_kernels();

  // Measured on an H100: cuDNN's attention does 415 and 613 TFLOP/s forward (head_dim 64 and 128) where flash does 263
  // and 297, and it takes the projections' strides as they are. Before Hopper it is the slower one.
  constexpr int kHopper = 9;
  if (properties.major >= kHopper) {
    at::globalContext().setSDPPriorityOrder(
        {static_cast<int64_t>(at::SDPBackend::cudnn_attention), static_cast<int64_t>(at::SDPBackend::flash_attention),
         static_cast<int64_t>(at::SDPBackend::efficient_attention), static_cast<int64_t>(at::SDPBackend::math)});
  }
}
