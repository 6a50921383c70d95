#include "titan/kernels/cpu/rms_norm.h"

#include <cmath>

#include "titan/kernels/cpu/compiled_for.h"
#include "titan/kernels/cpu/floats.h"

namespace titan::kernels::cpu {
namespace {

template <class T>
void add_row(const T* x, const T* delta, T* sum, int64_t dim) {
  for_each_vector(dim, [&](int64_t i, auto at) { at.store(sum + i, at.load(x + i) + at.load(delta + i)); });
}

template <class T>
void forward_row(const T* x, const T* weight, T* y, float* rstd, int64_t dim, float eps) {
  Floats squares(0);
  for_each_vector(dim, [&](int64_t i, auto at) {
    const Floats value = at.load(x + i);
    squares = fmadd(value, value, squares);
  });
  *rstd = 1 / std::sqrt(sum(squares) / static_cast<float>(dim) + eps);
  const Floats scale(*rstd);
  for_each_vector(dim, [&](int64_t i, auto at) { at.store(y + i, at.load(x + i) * scale * at.load(weight + i)); });
}

// With n = x * rstd and g = grad_y * weight: grad_x = rstd * (g - n * mean(g * n)), grad_weight = grad_y * n.
// kAdds: and grad_sum besides.
template <bool kAdds, class T>
void backward_row(const T* grad_y, const T* grad_sum, const T* x, const T* weight, float rstd, T* grad_x,
                  float* grad_weight, int64_t dim) {
  Floats products(0);
  for_each_vector(dim, [&](int64_t i, auto at) {
    products = fmadd(at.load(grad_y + i) * at.load(weight + i), at.load(x + i), products);
  });
  const Floats scale(rstd), mean(sum(products) * rstd / static_cast<float>(dim));
  for_each_vector(dim, [&](int64_t i, auto at) {
    const Floats grad = at.load(grad_y + i), normalized = at.load(x + i) * scale;
    Floats result = (grad * at.load(weight + i) - normalized * mean) * scale;
    if constexpr (kAdds) result = result + at.load(grad_sum + i);
    at.store(grad_x + i, result);
    at.store(grad_weight + i, fmadd(grad, normalized, at.load(grad_weight + i)));
  });
}

void forward(const RmsNormForward& call, int64_t begin_row, int64_t end_row) {
  with_type(call.dtype, [&]<class T>(T*) {
    for (int64_t row = begin_row; row < end_row; ++row) {
      const T* x = static_cast<const T*>(call.x) + row * call.dim;
      if (call.delta != nullptr) {
        T* const sum = static_cast<T*>(call.sum) + row * call.dim;
        add_row(x, static_cast<const T*>(call.delta) + row * call.dim, sum, call.dim);
        x = sum;
      }
      forward_row(x, static_cast<const T*>(call.weight), static_cast<T*>(call.y) + row * call.dim, call.rstd + row,
                  call.dim, call.eps);
    }
  });
}

void backward(const RmsNormBackward& call, int64_t begin_row, int64_t end_row, float* grad_weight) {
  with_type(call.dtype, [&]<class T>(T*) {
    const bool adds = call.grad_sum != nullptr;
    auto* const one_row = adds ? backward_row<true, T> : backward_row<false, T>;
    for (int64_t row = begin_row; row < end_row; ++row) {
      one_row(static_cast<const T*>(call.grad_y) + row * call.dim,
              adds ? static_cast<const T*>(call.grad_sum) + row * call.dim : nullptr,
              static_cast<const T*>(call.x) + row * call.dim, static_cast<const T*>(call.weight), call.rstd[row],
              static_cast<T*>(call.grad_x) + row * call.dim, grad_weight, call.dim);
    }
  });
}

}  // namespace

template <>
RmsNormLoops loops_for<RmsNormLoops, kCompiledFor>() {
  return {.forward = forward, .backward = backward};
}

}  // namespace titan::kernels::cpu
