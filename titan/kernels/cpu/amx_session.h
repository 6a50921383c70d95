// The right shape of the matrix unit's tiles, for as long as it is used. Only for the sources of loops that are built
// with AMX.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "titan/kernels/cpu/compiled_for.h"

namespace titan::kernels::cpu {
inline namespace CPU_CAPABILITY {

// All eight tiles have 16 rows of 64 bytes. One at a time on a thread.
class AmxSession {
 public:
  AmxSession() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } const shape;
    _tile_loadconfig(&shape);
  }
  ~AmxSession() { _tile_release(); }
  AmxSession(const AmxSession&) = delete;
  AmxSession& operator=(const AmxSession&) = delete;
};

}  // namespace CPU_CAPABILITY
}  // namespace titan::kernels::cpu
