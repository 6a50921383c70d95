// The loops of titan::rms_norm (rms_norm.h) and its backward, over rows of `dim` consecutive elements.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

namespace titan::kernels::cpu {

// dtype is that of all void pointers: float32, bfloat16 or float16.
struct RmsNormForward {
  at::ScalarType dtype;
  int64_t dim;
  float eps;
  const void* x;       // [rows, dim]
  const void* delta;   // [rows, dim]; null: the norm is of x alone
  void* sum;           // x + delta, rounded, of which the norm is; null without delta
  const void* weight;  // [dim]
  void* y;             // [rows, dim]
  float* rstd;         // [rows]: 1 / sqrt(mean(x^2) + eps)
};

struct RmsNormBackward {
  at::ScalarType dtype;
  int64_t dim;
  const void* grad_y;    // [rows, dim]
  const void* grad_sum;  // to be added to grad_x; null: nothing
  const void* x;
  const void* weight;
  const float* rstd;
  void* grad_x;  // [rows, dim]
};

struct RmsNormLoops {
  void (*forward)(const RmsNormForward& call, int64_t begin_row, int64_t end_row);
  // Adds what these rows give of the weight's gradient to grad_weight: [dim].
  void (*backward)(const RmsNormBackward& call, int64_t begin_row, int64_t end_row, float* grad_weight);
};

}  // namespace titan::kernels::cpu
