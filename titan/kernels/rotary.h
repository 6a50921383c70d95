// Rotary position embedding (Su et al. 2021, arXiv 2104.09864, section 3.2.2): pair i of a head's elements is one
// complex number, turned by position * frequency_i. Which two elements make a pair differs between models; the table of
// turns does not.
#pragma once

#include <ATen/core/Tensor.h>

namespace titan::kernels {

enum class RotaryPairs {
  kNeighbours,  // (2i, 2i + 1): as in the paper; Llama as Meta trains it
  kHalves,      // (i, i + head_dim / 2): Hugging Face's models, Qwen
};

// x: [batch, seq, heads, head_dim], any float dtype and strides, head_dim even; turns: complex64 [at least seq,
// head_dim / 2], for the tokens in order, or [batch, seq, head_dim / 2], for each token its own. Returns x turned,
// contiguous, of x's dtype, computed in fp32. For the backward, which turns back, it keeps nothing but `turns`.
at::Tensor rotary(const at::Tensor& x, const at::Tensor& turns, RotaryPairs pairs);

}  // namespace titan::kernels
