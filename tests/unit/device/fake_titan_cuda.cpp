// Stands in for libtitan_cuda.so where there is no GPU: opens the CPU by another name.
#include <cstdlib>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "titan/device/compute_device.h"

extern "C" void titan_open_cuda(int64_t index, titan::device::ComputeDevice& device) {
  const char* const allocator = std::getenv("PYTORCH_ALLOC_CONF");
  device.name = "fake " + std::to_string(index) + " " + (allocator == nullptr ? "" : allocator);
}
