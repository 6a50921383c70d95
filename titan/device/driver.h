// Whether this machine has an NVIDIA driver with a GPU for this process, asked without CUDA: the driver's own library
// is opened by name. It is not the CUDA runtime, which libtitan_cuda.so brings.
#pragma once

#include <cstdint>
#include <optional>

namespace titan::device {

struct Driver {
  int64_t num_devices = 0;  // that this process may see (CUDA_VISIBLE_DEVICES)
  int cuda_version = 0;     // the newest CUDA it serves, as CUDA counts: 13000 is 13.0
};

// Nothing where there is no driver, or it has no device for this process. Takes up to a few tenths of a second where
// there is one: it starts it.
std::optional<Driver> find_driver();

}  // namespace titan::device
