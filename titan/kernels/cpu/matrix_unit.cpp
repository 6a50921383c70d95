#include "titan/kernels/cpu/matrix_unit.h"

#include <ATen/cpu/Utils.h>

#include <algorithm>

#include "titan/kernels/cpu/loops.h"

namespace titan::kernels::cpu {

bool has_matrix_unit() {
  static const bool found = [] {
    if (capability() != Capability::kAvx512) return false;
    const auto capabilities = at::cpu::get_cpu_capabilities();
    const auto has = [&](const char* name) {
      const auto capability = capabilities.find(name);
      return capability != capabilities.end() && capability->second.isBool() && capability->second.toBool();
    };
    return has("amx_tile") && has("amx_bf16") && has("avx512_bf16") && at::cpu::init_amx();
  }();
  return found;
}

}  // namespace titan::kernels::cpu
