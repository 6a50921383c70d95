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
  // Several ranks of this machine use it. NCCL refuses that, so the two above are null, and who makes the groups has
  // to carry tensors through host memory (distributed/staged_backend.h).
  bool is_shared = false;
  // Makes ATen's operations throw where they would make the host wait for the device (true), or not (false): how tests
  // show that a step does not. Null on the CPU.
  void (*forbid_synchronisation)(bool) = nullptr;
};

// Opens the GPU that the rank uses, or settles on the CPU: of the GPUs that this process sees the `local_rank`-th, and
// where `local_world_size` ranks are more than GPUs, they share them in turn. Must be called before the first operation
// on a tensor and before threads start: ATen looks for CUDA once.
// TITAN_DEVICE = cpu leaves a GPU alone; = cuda makes it an error (c10::ValueError) that there is none that can be
// used; otherwise a GPU that is there but cannot be used is one warning, which names the reason: a driver too old, a
// library that is missing.
ComputeDevice open_compute_device(int64_t local_rank, int64_t local_world_size);

// What libtitan_cuda.so has (open_cuda.cpp): makes the `index`-th GPU the process's own and fills `device`.
inline constexpr char kOpenCuda[] = "titan_open_cuda";
using OpenCuda = void (*)(int64_t index, ComputeDevice& device);

}  // namespace titan::device
