// The loop of titan::sum_of_squares (sum_of_squares.h).
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

namespace titan::kernels::cpu {

struct SumOfSquaresLoops {
  // sum(x[i]^2) over `size` elements of float32, bfloat16, float16 or float64, in fp64, in the same order for every
  // instruction set.
  double (*sum)(const void* x, at::ScalarType dtype, int64_t size);
};

}  // namespace titan::kernels::cpu
