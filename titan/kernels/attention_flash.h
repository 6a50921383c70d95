// titan::attention on a GPU by ATen's FlashAttention-2 kernels, which know fewer masks: all keys, or those up to a
// query's own position where queries and keys are as many; then a window besides. What they cannot do is the
// composite's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <tuple>

namespace titan::kernels {

// The arguments of titan::attention.
bool fits_flash(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                const std::optional<at::Tensor>& first_key, bool is_causal, int64_t query_offset);

std::tuple<at::Tensor, at::Tensor> attention_flash(const at::Tensor& query, const at::Tensor& key,
                                                   const at::Tensor& value, bool is_causal, int64_t window,
                                                   double scale);

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_flash_backward(const at::Tensor& grad_out,
                                                                        const at::Tensor& query, const at::Tensor& key,
                                                                        const at::Tensor& value, const at::Tensor& out,
                                                                        const at::Tensor& logsumexp, bool is_causal,
                                                                        int64_t window, double scale);

}  // namespace titan::kernels
