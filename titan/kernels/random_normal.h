// Normally distributed numbers by element index: element i of a tensor gets the i-th number of a stream (Philox, see
// philox.h), by inversion of the distribution function, whatever the device and the number of threads. So a tensor can
// be filled in parts and by any rank. On a DTensor each rank fills its own part.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/macros/Macros.h>

#include <cstdint>
#include <limits>

#include "titan/kernels/block.h"
#include "titan/kernels/normal_distribution.h"
#include "titan/kernels/philox.h"

namespace titan::kernels {

struct RandomNormal {
  uint64_t seed = 0;
  uint64_t stream = 0;  // of several with one seed
  double mean = 0, std = 1;
  // Restricts the distribution to [low, high]: absolute bounds, not in units of std.
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
};

// Fills x, of a floating dtype and any strides, in place; values are made in fp64 and rounded to fp32, then to the
// dtype. Between devices they may differ by a rounding of the mathematical functions. Leaves autograd alone.
void random_normal_(const at::Tensor& x, const RandomNormal& distribution, const Block& block = {});

// Draws four numbers at a time, so that both devices' kernels agree on the order: elements 4 * block to 4 * block + 3.
class NormalDraw {
 public:
  explicit NormalDraw(const RandomNormal& d)
      : d_(d), p_low_(normal_cdf((d.low - d.mean) / d.std)), p_high_(normal_cdf((d.high - d.mean) / d.std)) {}

  C10_HOST_DEVICE void operator()(uint64_t block, float (&values)[4]) const {
    const auto words = philox_4x32_10({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                                       static_cast<uint32_t>(d_.stream), static_cast<uint32_t>(d_.stream >> 32)},
                                      {static_cast<uint32_t>(d_.seed), static_cast<uint32_t>(d_.seed >> 32)});
    for (int i = 0; i < 4; ++i) {
      // In (0, 1), never an end point: 24 random bits plus one half.
      const double uniform = ((words[static_cast<size_t>(i)] >> 8) + 0.5) * 0x1p-24;
      const double value = d_.mean + d_.std * inverse_normal_cdf(p_low_ + (p_high_ - p_low_) * uniform);
      values[i] = static_cast<float>(value < d_.low ? d_.low : value > d_.high ? d_.high : value);
    }
  }

 private:
  RandomNormal d_;
  double p_low_, p_high_;
};

}  // namespace titan::kernels
