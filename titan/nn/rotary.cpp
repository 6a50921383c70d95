#include "titan/nn/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/polar.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/where.h>

#include <numbers>

namespace titan::nn {
namespace {

at::Tensor scaled(const at::Tensor& frequencies, const RopeScaling& scaling) {
  if (scaling.scaling_factor == 1) return frequencies;  // the mean below would cost a last bit
  const double original = static_cast<double>(scaling.original_max_position_embeddings);
  const at::Tensor wavelengths = 2 * std::numbers::pi / frequencies;
  const at::Tensor stretched = frequencies / scaling.scaling_factor;
  // 0 at the long end of the middle band, 1 at its short end
  const at::Tensor share =
      (original / wavelengths - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  const at::Tensor between = (1 - share) * frequencies / scaling.scaling_factor + share * frequencies;
  const at::Tensor is_long = wavelengths > original / scaling.low_freq_factor;
  const at::Tensor is_short = wavelengths < original / scaling.high_freq_factor;
  return at::where(is_long, stretched, at::where(is_short, frequencies, between));
}

}  // namespace

at::Tensor precompute_freqs_cis(int64_t head_dim, int64_t num_positions, double theta, const RopeScaling& scaling,
                                at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  if (device.is_meta()) return at::empty({num_positions, head_dim / 2}, options.dtype(at::kComplexFloat));
  const at::Tensor exponents = at::arange(0, head_dim, 2, options) / static_cast<double>(head_dim);
  const at::Tensor frequencies = scaled(at::reciprocal(at::pow(theta, exponents)), scaling);
  const at::Tensor angles = at::outer(at::arange(num_positions, options), frequencies);
  return at::polar(at::ones_like(angles), angles);
}

std::pair<at::Tensor, at::Tensor> apply_rotary_emb(const at::Tensor& xq, const at::Tensor& xk,
                                                   const at::Tensor& freqs_cis, RotaryPairs pairs) {
  return {kernels::rotary(xq, freqs_cis, pairs), kernels::rotary(xk, freqs_cis, pairs)};
}

}  // namespace titan::nn
