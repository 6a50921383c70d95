#include "titan/kernels/cpu/loops.h"

#include <ATen/Version.h>

#include <string>

namespace titan::kernels::cpu {

Capability capability() {
  static const Capability found = [] {
    const std::string name = at::get_cpu_capability();
    return name == "AVX512" ? Capability::kAvx512 : name == "AVX2" ? Capability::kAvx2 : Capability::kDefault;
  }();
  return found;
}

}  // namespace titan::kernels::cpu
