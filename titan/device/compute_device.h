// What this process computes on: the CPU, or one GPU through libtitan_cuda.so, which is opened only where there is a
// GPU. One program serves both, and nobody else asks which it is by #ifdef.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "titan/distributed/backend.h"
#include "titan/distributed/partwise.h"

namespace titan::device {

struct ComputeDevice {
  at::Device device = at::kCPU;
  std::string name = "cpu";  // "NVIDIA H100 80GB HBM3"
  // Of process groups whose tensors lie on the device (NCCL); null on the CPU.
  distributed::BackendFactory make_backend;
  // Of collectives in parts for them (symmetric memory); null on the CPU.
  distributed::PartwiseFactory make_partwise;
  // Makes ATen's operations throw where they would make the host wait for the device (true), or not (false): how tests
  // show that a step does not. Null on the CPU.
  void (*forbid_synchronisation)(bool) = nullptr;
};

// Opens the GPU that the rank uses, the `local_rank`-th that this process sees, or settles on the CPU. Must be called
// before the first operation on a tensor and before threads start: ATen looks for CUDA once.
// TITAN_DEVICE = cpu leaves a GPU alone; = cuda makes it an error (c10::ValueError) that there is none that can be
// used; otherwise a GPU that is there but cannot be used is one warning, which names the reason: a driver too old, a
// library that is missing. Throws c10::ValueError if there are fewer GPUs than local ranks.
ComputeDevice open_compute_device(int64_t local_rank);

// What libtitan_cuda.so has (open_cuda.cpp): makes the `local_rank`-th GPU the process's own and fills `device`.
inline constexpr char kOpenCuda[] = "titan_open_cuda";
using OpenCuda = void (*)(int64_t local_rank, ComputeDevice& device);

}  // namespace titan::device
