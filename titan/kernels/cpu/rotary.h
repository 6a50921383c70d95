// The loop of titan::rotary (rotary.h).
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

namespace titan::kernels::cpu {

// x: [batch, seq, heads, head_dim] with strides, in elements, of all dimensions but the last, whose elements are
// consecutive; y: the same, contiguous; dtype: float32, bfloat16 or float16 of both.
struct RotaryCall {
  at::ScalarType dtype;
  int64_t seq, heads, head_dim;
  int64_t batch_stride, seq_stride, head_stride;
  const void* x;
  const float* turns;          // [batch or 1, seq, head_dim / 2, 2]: cosine and sine
  int64_t turns_batch_stride;  // 0: the same for all
  void* y;
  bool halves;  // RotaryPairs::kHalves
  bool back;    // by minus the angle
};

struct RotaryLoops {
  // Rows are the batch * seq positions.
  void (*turn)(const RotaryCall& call, int64_t begin_row, int64_t end_row);
};

}  // namespace titan::kernels::cpu
