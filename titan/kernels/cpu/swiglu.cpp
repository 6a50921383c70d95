#include "titan/kernels/cpu/swiglu.h"

#include "titan/kernels/cpu/compiled_for.h"
#include "titan/kernels/cpu/floats.h"

namespace titan::kernels::cpu {
namespace {

Floats sigmoid(const Floats& x) { return Floats(1) / (Floats(1) + exp(x.neg())); }

void forward(at::ScalarType dtype, const void* gate, const void* up, void* y, int64_t begin, int64_t end) {
  with_type(dtype, [&]<class T>(T*) {
    const T* const g = static_cast<const T*>(gate) + begin;
    const T* const u = static_cast<const T*>(up) + begin;
    T* const to = static_cast<T*>(y) + begin;
    for_each_vector(end - begin, [&](int64_t i, auto at) {
      const Floats value = at.load(g + i);
      at.store(to + i, value * sigmoid(value) * at.load(u + i));
    });
  });
}

// silu'(g) = s * (1 + g * (1 - s)) where s = sigmoid(g).
void backward(at::ScalarType dtype, const void* grad_y, const void* gate, const void* up, void* grad_gate,
              void* grad_up, int64_t begin, int64_t end) {
  with_type(dtype, [&]<class T>(T*) {
    const T* const grad = static_cast<const T*>(grad_y) + begin;
    const T* const g = static_cast<const T*>(gate) + begin;
    const T* const u = static_cast<const T*>(up) + begin;
    T* const to_gate = static_cast<T*>(grad_gate) + begin;
    T* const to_up = static_cast<T*>(grad_up) + begin;
    for_each_vector(end - begin, [&](int64_t i, auto at) {
      const Floats value = at.load(g + i), s = sigmoid(value), of_y = at.load(grad + i) * s;
      at.store(to_up + i, of_y * value);
      at.store(to_gate + i, of_y * at.load(u + i) * fmadd(value, Floats(1) - s, Floats(1)));
    });
  });
}

}  // namespace

template <>
SwigluLoops loops_for<SwigluLoops, kCompiledFor>() {
  return {.forward = forward, .backward = backward};
}

}  // namespace titan::kernels::cpu
