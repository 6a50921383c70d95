#include "titan/nn/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/polar.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/view_as_complex.h>
#include <ATen/ops/view_as_real.h>
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

at::Tensor turned(const at::Tensor& x, const at::Tensor& freqs_cis, RotaryPairs pairs) {
  const int64_t batch = x.size(0), seq = x.size(1), heads = x.size(2), num_pairs = x.size(3) / 2;
  const at::Tensor elements = x.to(at::kFloat);
  if (pairs == RotaryPairs::kNeighbours) {
    const at::Tensor numbers = at::view_as_complex(elements.reshape({batch, seq, heads, num_pairs, 2}));
    return at::view_as_real(numbers * freqs_cis).flatten(3).to(x.scalar_type());
  }
  const at::Tensor side_by_side = elements.reshape({batch, seq, heads, 2, num_pairs}).transpose(3, 4).contiguous();
  const at::Tensor numbers = at::view_as_complex(side_by_side) * freqs_cis;
  return at::view_as_real(numbers).transpose(3, 4).flatten(3).to(x.scalar_type());
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
  const int64_t seq = xq.size(1);
  const at::Tensor turns = freqs_cis.narrow(0, 0, seq).view({1, seq, 1, xq.size(3) / 2});
  return {turned(xq, turns, pairs), turned(xk, turns, pairs)};
}

}  // namespace titan::nn
