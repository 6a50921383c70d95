// 2^x for vectors of floats, as the softmax needs it. Only for the sources of loops (loops.h).
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <cstdint>

#include "titan/kernels/cpu/compiled_for.h"

namespace titan::kernels::cpu {
inline namespace CPU_CAPABILITY {

// For x up to 127, within 1 ulp; 0 below -126.5, where the result would be denormal; NaN of NaN. 2^x = 2^n 2^f with n
// the nearest whole number: 2^f by the polynomial of degree 6 with the least relative error on [-1/2, 1/2], 2^n by its
// bits.
inline at::vec::Vectorized<float> exp2_bounded(at::vec::Vectorized<float> x) {
  using Vector = at::vec::Vectorized<float>;
  x = at::vec::clamp_min(x, Vector(-127.0F));
  const Vector n = x.round();
  const Vector f = x - n;
  Vector power = at::vec::fmadd(Vector(1.53458124e-4F), f, Vector(1.33999309e-3F));
  power = at::vec::fmadd(power, f, Vector(9.61848907e-3F));
  power = at::vec::fmadd(power, f, Vector(5.55032864e-2F));
  power = at::vec::fmadd(power, f, Vector(2.40226462e-1F));
  power = at::vec::fmadd(power, f, Vector(6.93147182e-1F));
  power = at::vec::fmadd(power, f, Vector(1.0F));
  const auto exponent = (at::vec::convert_to_int_of_same_size(n) + at::vec::Vectorized<int32_t>(127))
                        << at::vec::Vectorized<int32_t>(23);
  return power * at::vec::cast<float, int32_t>(exponent);
}

}  // namespace CPU_CAPABILITY
}  // namespace titan::kernels::cpu
