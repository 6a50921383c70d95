// open_device LOCAL_RANK LOCAL_WORLD_SIZE: prints the name of the device that this rank computes on.
#include <c10/util/Exception.h>

#include <cstdio>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "titan/device/compute_device.h"

int main(int, char** argv) {
  try {
    const auto device = titan::device::open_compute_device(std::atoi(argv[1]), std::atoi(argv[2]));
    std::printf("%s%s\n", device.name.c_str(), device.is_shared ? "shared" : "");
    return 0;
  } catch (const c10::ValueError& error) {
    std::fprintf(stderr, "%s\n", error.what_without_backtrace());
    return 1;
  }
}
