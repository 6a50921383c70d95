// Exponentials of vectors of floats, some times as fast as the mathematical library's. Only for the sources of loops
// (loops.h).
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <cstdint>

#include "titan/kernels/cpu/compiled_for.h"

namespace titan::kernels::cpu {
inline namespace CPU_CAPABILITY {

// 2^(n + f) for whole n in [-127, 128] and f in [-1/2, 1/2], within 1 ulp; 0 for n = -127, where the result would be
// denormal, and infinite for n = 128. 2^f by the polynomial of degree 6 with the least relative error, 2^n by its bits.
inline at::vec::Vectorized<float> exp2_of_parts(at::vec::Vectorized<float> n, at::vec::Vectorized<float> f) {
  using Vector = at::vec::Vectorized<float>;
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

// 2^x for x up to 127, within 1 ulp; 0 below -126.5; NaN of NaN.
inline at::vec::Vectorized<float> exp2_bounded(at::vec::Vectorized<float> x) {
  using Vector = at::vec::Vectorized<float>;
  x = at::vec::clamp_min(x, Vector(-127.0F));
  const Vector n = x.round();
  return exp2_of_parts(n, x - n);
}

// e^x for any x, within 2 ulp; 0 below -87.7, where the result would be denormal, infinite above 88.4; NaN of NaN.
inline at::vec::Vectorized<float> exp(at::vec::Vectorized<float> x) {
  using Vector = at::vec::Vectorized<float>;
  constexpr float kLog2e = 1.44269502F,
                  kLog2eRest = 1.92596303e-8F;  // in two parts: the whole part of x * log2(e) is large
  x = at::vec::clamp(x, Vector(-88.0F), Vector(89.0F));
  const Vector n = (x * Vector(kLog2e)).round();
  return exp2_of_parts(n, at::vec::fmadd(x, Vector(kLog2eRest), at::vec::fmadd(x, Vector(kLog2e), n.neg())));
}

}  // namespace CPU_CAPABILITY
}  // namespace titan::kernels::cpu
