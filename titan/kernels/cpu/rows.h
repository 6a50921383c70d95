// Rows of any of our dtypes as rows of fp32, a vector at a time. Only for the sources of loops (loops.h).
#pragma once

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <cstdint>
#include <type_traits>

#include "titan/kernels/cpu/compiled_for.h"

namespace titan::kernels::cpu {
inline namespace CPU_CAPABILITY {

// As many elements as a vector of fp32 has.
template <class T>
at::vec::Vectorized<float> load_vector(const T* x) {
  using Vector = at::vec::Vectorized<float>;
  if constexpr (std::is_same_v<T, float>) {
    return Vector::loadu(x);
  } else {
    return std::get<0>(at::vec::convert_to_float<T>(at::vec::Vectorized<T>::loadu(x, Vector::size())));
  }
}

// to[i] = x[i]
template <class T>
void load_row(const T* x, int64_t size, float* to) {
  constexpr int64_t kLanes = at::vec::Vectorized<float>::size();
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) load_vector(x + i).store(to + i);
  for (; i < size; ++i) to[i] = static_cast<float>(x[i]);
}

// to[i] = x[i] * factor, rounded to nearest
template <class T>
void store_row(const float* x, int64_t size, float factor, T* to) {
  using Vector = at::vec::Vectorized<float>;
  constexpr int64_t kLanes = Vector::size();
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const Vector product = Vector::loadu(x + i) * Vector(factor);
    if constexpr (std::is_same_v<T, float>) {
      product.store(to + i);
    } else {
      at::vec::convert_from_float<T>(product, product).store(to + i, kLanes);
    }
  }
  for (; i < size; ++i) to[i] = static_cast<T>(x[i] * factor);
}

// sum(a[i] * b[i]) in fp32
template <class T>
float dot(const T* a, const T* b, int64_t size) {
  using Vector = at::vec::Vectorized<float>;
  Vector products(0.0F);
  int64_t i = 0;
  for (; i + Vector::size() <= size; i += Vector::size()) {
    products = at::vec::fmadd(load_vector(a + i), load_vector(b + i), products);
  }
  float sum = 0;
  for (; i < size; ++i) sum += static_cast<float>(a[i]) * static_cast<float>(b[i]);
  float lanes[Vector::size()];
  products.store(lanes);
  for (const float lane : lanes) sum += lane;
  return sum;
}

}  // namespace CPU_CAPABILITY
}  // namespace titan::kernels::cpu
