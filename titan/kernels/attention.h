// Softmax attention that never holds a whole matrix of scores (FlashAttention-2, Dao 2023, arXiv 2307.08691), with its
// gradient: softmax(scale Q K^T + mask) V for each head, several query heads sharing one of keys and values (Ainslie et
// al. 2023, arXiv 2305.13245). On the CPU these are loops of ours (cpu/attention.h), on a GPU ATen's flash kernels
// where these know the mask (attention_flash.h); elsewhere ATen's operators compose it with all scores in memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <tuple>

#include "titan/kernels/segments.h"

namespace titan::kernels {

// Which keys a query sees. Query i stands at position query_offset + i among the keys 0, 1, ...: so ranks that have
// part of a sequence, and queries that are fewer than the keys, are described as well. Blocks of which no key is seen
// cost nothing. A query that sees no key gets 0, and a log-sum-exp of -infinity.
struct AttentionMask {
  bool is_causal = false;    // none after its own position
  int64_t query_offset = 0;  // may be negative, or beyond the last key
  int64_t window = 0;        // with is_causal: the last `window` up to its own position; 0: all
  // [batch, query_len] int64: none before this one. Where documents are packed into one row, the first token of the
  // query's document. Or undefined.
  at::Tensor first_key;
  // What first_key says once more, if it can be said so: for kernels that work by segments. They need not be looked at.
  Segments segments;
};

// query: [batch, query_len, heads, width]; key: [batch, key_len, kv_heads, width]; value: [batch, key_len, kv_heads,
// value_width]; one dtype, any strides, nothing is copied if the last dimension is contiguous. kv_heads divides heads:
// query head h reads head h / (heads / kv_heads). scale: above 0, default 1 / sqrt(width).
// Returns [batch, query_len, heads, value_width], contiguous. For the backward it keeps the operands, the result and
// one number for each query and head. The same bits at any number of threads. No second derivatives.
at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                     const AttentionMask& mask = {}, std::optional<double> scale = std::nullopt);

// The two halves, for those who put together attention over several blocks of keys: autograd does not follow them.
// Also returns the log-sum-exp of the scores, [batch, heads, query_len] float32 (float64 for float64): two results of
// one query, over different keys, are weighted by exp(logsumexp) of each.
std::tuple<at::Tensor, at::Tensor> attention_forward(const at::Tensor& query, const at::Tensor& key,
                                                     const at::Tensor& value, const AttentionMask& mask = {},
                                                     std::optional<double> scale = std::nullopt);
// Gradients of query, key and value. `out` and `logsumexp` may be those of more keys than these: then it returns what
// these keys add to the gradients.
std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(const at::Tensor& grad_out, const at::Tensor& query,
                                                                  const at::Tensor& key, const at::Tensor& value,
                                                                  const at::Tensor& out, const at::Tensor& logsumexp,
                                                                  const AttentionMask& mask = {},
                                                                  std::optional<double> scale = std::nullopt);

}  // namespace titan::kernels
