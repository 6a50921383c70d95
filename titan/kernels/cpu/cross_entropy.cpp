#include "titan/kernels/cpu/cross_entropy.h"

#include <cmath>
#include <limits>

#include "titan/kernels/cpu/compiled_for.h"
#include "titan/kernels/cpu/floats.h"

namespace titan::kernels::cpu {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// What exp() makes 0 of, in the elements past a row's end.
template <class T>
Floats load_or_lowest(const T* x, int64_t i, int64_t size) {
  if (i + kFloats <= size) return load_floats(x + i);
  float values[kFloats];
  for (int64_t lane = 0; lane < kFloats; ++lane)
    values[lane] = i + lane < size ? static_cast<float>(x[i + lane]) : kLowest;
  return load_floats(values);
}

template <class T>
float largest_of(const T* x, int64_t size) {
  Floats found(kLowest);
  for (int64_t i = 0; i < size; i += kFloats) {
    const Floats values = load_or_lowest(x, i, size);
    found = Floats(at::vec::maximum(found[0], values[0]), at::vec::maximum(found[1], values[1]));
  }
  return largest(found);
}

template <class T>
float sum_of_exp(const T* x, float shift, int64_t size) {
  Floats total(0);
  for (int64_t i = 0; i < size; i += kFloats) {
    total = total + exp(load_or_lowest(x, i, size) - Floats(shift));
  }
  return sum(total);
}

void rows(const LogitCall& call, const void* logits, float* largest, float* sum, float* label_logit, int64_t begin_row,
          int64_t end_row) {
  with_type(call.dtype, [&]<class T>(T*) {
    for (int64_t row = begin_row; row < end_row; ++row) {
      const T* const x = static_cast<const T*>(logits) + row * call.row_stride;
      largest[row] = largest_of(x, call.num_columns);
      sum[row] = sum_of_exp(x, largest[row], call.num_columns);
      const int64_t column = call.labels[row] - call.first;
      const bool is_here = call.labels[row] != call.ignore_index && column >= 0 && column < call.num_columns;
      label_logit[row] = is_here ? static_cast<float>(x[column]) : 0.0F;
    }
  });
}

void gradient(const LogitCall& call, void* logits, const float* largest, const float* sum, float scale,
              int64_t begin_row, int64_t end_row) {
  with_type(call.dtype, [&]<class T>(T*) {
    for (int64_t row = begin_row; row < end_row; ++row) {
      T* const x = static_cast<T*>(logits) + row * call.row_stride;
      if (call.labels[row] == call.ignore_index) {
        for (int64_t i = 0; i < call.num_columns; ++i) x[i] = T(0);
        continue;
      }
      const int64_t column = call.labels[row] - call.first;
      const bool is_here = column >= 0 && column < call.num_columns;
      // Before it is overwritten, and in fp32: softmax - 1 rounded once.
      const float label_logit = is_here ? static_cast<float>(x[column]) : 0.0F;
      const Floats shift(largest[row]), factor(scale / sum[row]);
      for_each_vector(call.num_columns,
                      [&](int64_t i, auto at) { at.store(x + i, exp(at.load(x + i) - shift) * factor); });
      if (is_here) x[column] = static_cast<T>(scale * (std::exp(label_logit - largest[row]) / sum[row] - 1));
    }
  });
}

}  // namespace

template <>
CrossEntropyLoops loops_for<CrossEntropyLoops, kCompiledFor>() {
  return {.rows = rows, .gradient = gradient};
}

}  // namespace titan::kernels::cpu
