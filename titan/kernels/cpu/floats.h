// Vectors of fp32 numbers, whatever dtype they have in memory: what loops compute with. Half a cache line of a 16-bit
// dtype or a whole one of fp32 (on AVX-512 one and two) at a time. Only for the sources of loops (loops.h).
#pragma once

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <type_traits>

#include "titan/kernels/cpu/compiled_for.h"
#include "titan/kernels/cpu/exp2.h"

namespace titan::kernels::cpu {
// [Note: inline functions in loops]: the name carries the instruction set.
inline namespace CPU_CAPABILITY {

using Floats = at::vec::VectorizedN<float, 2>;
constexpr int64_t kFloats = Floats::size();

// x: kFloats elements of float, BFloat16 or Half.
template <class T>
Floats load_floats(const T* x) {
  if constexpr (std::is_same_v<T, float>) {
    return Floats::loadu(x);
  } else {
    const auto [low, high] = at::vec::convert_to_float<T>(at::vec::Vectorized<T>::loadu(x));
    return Floats(low, high);
  }
}

// Rounds to nearest, ties to even.
template <class T>
void store_floats(T* to, const Floats& x) {
  if constexpr (std::is_same_v<T, float>) {
    x.store(to);
  } else {
    at::vec::convert_from_float<T>(x[0], x[1]).store(to);
  }
}

// The first `count` elements, zeros after them.
template <class T>
Floats load_floats(const T* x, int64_t count) {
  T elements[kFloats] = {};
  for (int64_t i = 0; i < count; ++i) elements[i] = x[i];
  return load_floats(elements);
}

template <class T>
void store_floats(T* to, const Floats& x, int64_t count) {
  T elements[kFloats];
  store_floats(elements, x);
  for (int64_t i = 0; i < count; ++i) to[i] = elements[i];
}

inline float sum(const Floats& x) {
  return at::vec::vec_reduce_all<float>([](const auto& a, const auto& b) { return a + b; }, x[0] + x[1]);
}

inline float largest(const Floats& x) {
  return at::vec::vec_reduce_all<float>([](const auto& a, const auto& b) { return at::vec::maximum(a, b); },
                                        at::vec::maximum(x[0], x[1]));
}

// a * b + c, rounded once.
inline Floats fmadd(const Floats& a, const Floats& b, const Floats& c) {
  return {at::vec::fmadd(a[0], b[0], c[0]), at::vec::fmadd(a[1], b[1], c[1])};
}

// e^x (exp2.h).
inline Floats exp(const Floats& x) { return {cpu::exp(x[0]), cpu::exp(x[1])}; }

// Where a vector's elements are in a row: all kFloats of them, or the row's last ones.
struct Whole {
  template <class T>
  static Floats load(const T* x) {
    return load_floats(x);
  }
  template <class T>
  static void store(T* to, const Floats& x) {
    store_floats(to, x);
  }
};
struct Rest {
  template <class T>
  Floats load(const T* x) const {
    return load_floats(x, count);
  }
  template <class T>
  void store(T* to, const Floats& x) const {
    store_floats(to, x, count);
  }
  int64_t count;
};

// Calls f(i, at) for each vector of `size` elements, where i is the index of its first one: at.load(x + i) and
// at.store(x + i, value) touch no element after `size`, and load zeros for those.
template <class F>
void for_each_vector(int64_t size, F&& f) {
  int64_t i = 0;
  for (; i + kFloats <= size; i += kFloats) f(i, Whole{});
  if (i < size) f(i, Rest{size - i});
}

// Calls f with a null pointer to the C++ type of a dtype, one of float32, bfloat16 and float16.
template <class F>
void with_type(at::ScalarType dtype, F&& f) {
  if (dtype == at::kFloat) return f(static_cast<float*>(nullptr));
  if (dtype == at::kBFloat16) return f(static_cast<c10::BFloat16*>(nullptr));
  f(static_cast<c10::Half*>(nullptr));
}

}  // namespace CPU_CAPABILITY
}  // namespace titan::kernels::cpu
