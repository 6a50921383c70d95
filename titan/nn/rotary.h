// Rotary position embedding (Su et al. 2021, arXiv 2104.09864, section 3.2.2): pair i of a head's elements is one
// complex number, turned by position * frequency_i. Which two elements make a pair differs between models; the
// frequencies do not, so one table serves them all.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>

#include "titan/kernels/rotary.h"

namespace titan::nn {

using kernels::RotaryPairs;

// Llama 3.1's stretching of the slow frequencies, by which a model trained on original_max_position_embeddings
// positions reads more. A factor of 1 changes nothing.
struct RopeScaling {
  double scaling_factor = 8.0;
  double low_freq_factor = 1.0;   // wavelengths over original / low_freq_factor are stretched by scaling_factor
  double high_freq_factor = 4.0;  // wavelengths under original / high_freq_factor stay; between, linear in 1/wavelength
  int64_t original_max_position_embeddings = 8192;
};

// exp(i * position * frequency): complex64 [num_positions, head_dim / 2]. Frequencies are computed in fp32, as in the
// models' own training code; in fp64 they would differ in the last bits.
at::Tensor precompute_freqs_cis(int64_t head_dim, int64_t num_positions, double theta, const RopeScaling& scaling,
                                at::Device device);

// Turns queries and keys. xq: [batch, seq, heads, head_dim], xk: [batch, seq, kv_heads, head_dim], any float dtype
// (turned in fp32); freqs_cis: [at least seq, head_dim / 2], or for each row its own, [batch, seq, head_dim / 2].
std::pair<at::Tensor, at::Tensor> apply_rotary_emb(const at::Tensor& xq, const at::Tensor& xk,
                                                   const at::Tensor& freqs_cis,
                                                   RotaryPairs pairs = RotaryPairs::kNeighbours);

}  // namespace titan::nn
