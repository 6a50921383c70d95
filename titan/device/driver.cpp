#include "titan/device/driver.h"

#include <dlfcn.h>

namespace titan::device {
namespace {

using Init = int (*)(unsigned);
using GetInt = int (*)(int*);
constexpr int kSuccess = 0;

template <class Function>
Function find(void* library, const char* name) {
  return reinterpret_cast<Function>(dlsym(library, name));
}

}  // namespace

std::optional<Driver> find_driver() {
  // Never closed: a driver that was started stays.
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return std::nullopt;
  const auto init = find<Init>(library, "cuInit");
  const auto count = find<GetInt>(library, "cuDeviceGetCount");
  const auto version = find<GetInt>(library, "cuDriverGetVersion");
  if (init == nullptr || count == nullptr || version == nullptr) return std::nullopt;
  int num_devices = 0;
  Driver driver;
  if (init(0) != kSuccess || count(&num_devices) != kSuccess || num_devices == 0) return std::nullopt;
  if (version(&driver.cuda_version) != kSuccess) return std::nullopt;
  driver.num_devices = num_devices;
  return driver;
}

}  // namespace titan::device
