// titan::attention on a GPU by the kernels that ATen has for it: FlashAttention-2, and cuDNN's where ATen prefers it
// (on Hopper). They know fewer masks than ours: all keys; those up to a query's own position, where queries and keys
// are as many, with a window besides; and documents, as segments. What they cannot do is the composite's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>

#include "titan/kernels/segments.h"

namespace titan::kernels {

// What of titan::attention's mask these kernels are told.
struct FlashMask {
  bool is_causal = false;
  int64_t window = 0;
  Segments segments;  // or none
};

// Whether they can do it; `has_first_key`, `query_offset`: what else the mask has.
bool fits_flash(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const FlashMask& mask,
                bool has_first_key, int64_t query_offset);

std::tuple<at::Tensor, at::Tensor> attention_flash(const at::Tensor& query, const at::Tensor& key,
                                                   const at::Tensor& value, const FlashMask& mask, double scale);

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_flash_backward(const at::Tensor& grad_out,
                                                                        const at::Tensor& query, const at::Tensor& key,
                                                                        const at::Tensor& value, const at::Tensor& out,
                                                                        const at::Tensor& logsumexp,
                                                                        const FlashMask& mask, double scale);

}  // namespace titan::kernels
