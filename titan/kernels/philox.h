// Philox 4x32-10, the counter-based random number generator of Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011), section 3.3: the numbers at a counter do not depend on what was drawn before, so any rank draws
// any part of a tensor by itself.
#pragma once

#include <c10/macros/Macros.h>

#include <array>
#include <cstdint>

namespace titan::kernels {

// Four words that depend on `counter` and `key` only, uniform over all 32-bit values.
C10_HOST_DEVICE inline std::array<uint32_t, 4> philox_4x32_10(std::array<uint32_t, 4> counter,
                                                              std::array<uint32_t, 2> key) {
  constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;  // golden ratio and sqrt(3) - 1
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{kMultiplier0} * counter[0];
    const uint64_t product1 = uint64_t{kMultiplier1} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

}  // namespace titan::kernels
