// The loops of titan::swiglu (swiglu.h) and its backward, over consecutive elements.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

namespace titan::kernels::cpu {

struct SwigluLoops {
  // dtype is that of all pointers: float32, bfloat16 or float16.
  void (*forward)(at::ScalarType dtype, const void* gate, const void* up, void* y, int64_t begin, int64_t end);
  void (*backward)(at::ScalarType dtype, const void* grad_y, const void* gate, const void* up, void* grad_gate,
                   void* grad_up, int64_t begin, int64_t end);
};

}  // namespace titan::kernels::cpu
