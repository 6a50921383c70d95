#include "titan/kernels/cpu/sum_of_squares.h"

#include "titan/kernels/cpu/compiled_for.h"

namespace titan::kernels::cpu {
namespace {

template <class T>
double sum_of(const T* x, int64_t size) {
  // Eight sums side by side, for the vector unit.
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= size; i += 8) {
    for (int64_t lane = 0; lane < 8; ++lane) {
      const double value = static_cast<double>(x[i + lane]);
      sums[lane] += value * value;
    }
  }
  double sum = 0;
  for (; i < size; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  for (const double lane : sums) sum += lane;
  return sum;
}

double sum(const void* x, at::ScalarType dtype, int64_t size) {
  switch (dtype) {
    case at::kFloat:
      return sum_of(static_cast<const float*>(x), size);
    case at::kBFloat16:
      return sum_of(static_cast<const c10::BFloat16*>(x), size);
    case at::kHalf:
      return sum_of(static_cast<const c10::Half*>(x), size);
    default:
      return sum_of(static_cast<const double*>(x), size);
  }
}

}  // namespace

template <>
SumOfSquaresLoops loops_for<SumOfSquaresLoops, kCompiledFor>() {
  return {.sum = sum};
}

}  // namespace titan::kernels::cpu
