// open_device LOCAL_RANK: prints the name of the device that this rank computes on.
#include <c10/util/Exception.h>

#include <cstdio>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "titan/device/compute_device.h"

int main(int, char** argv) {
  try {
    std::printf("%s\n", titan::device::open_compute_device(std::atoi(argv[1])).name.c_str());
    return 0;
  } catch (const c10::ValueError& error) {
    std::fprintf(stderr, "%s\n", error.what_without_backtrace());
    return 1;
  }
}
