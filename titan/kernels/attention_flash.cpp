#include "titan/kernels/attention_flash.h"

#include <ATen/SDPBackend.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <limits>
#include <optional>

namespace titan::kernels {
namespace {

constexpr int64_t kLargestWidth = 256, kWidthMultiple = 8;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Keys to the left of a query's own that it sees. None: all.
std::optional<int64_t> left_of(int64_t window) { return window > 0 ? std::optional(window - 1) : std::nullopt; }
std::optional<int64_t> right_of(int64_t window) { return window > 0 ? std::optional<int64_t>(0) : std::nullopt; }

at::Tensor with_contiguous_rows(const at::Tensor& x) { return x.stride(-1) == 1 ? x : x.contiguous(); }

// Without dropout there are no random numbers, whose state the backwards ask for all the same.
at::Tensor no_state(const at::Tensor& like) { return at::empty({}, like.options().dtype(at::kLong)); }

// --- cuDNN: [batch, heads, seq, width] ---

bool prefers_cudnn(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const FlashMask& mask,
                   double scale) {
  if (mask.window > 0 || mask.segments.defined()) return false;
  const int64_t choice = at::_fused_sdp_choice(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2),
                                               /*attn_mask=*/std::nullopt, /*dropout_p=*/0.0, mask.is_causal, scale,
                                               /*enable_gqa=*/query.size(2) != key.size(2));
  return choice == static_cast<int64_t>(at::SDPBackend::cudnn_attention);
}

std::tuple<at::Tensor, at::Tensor> by_cudnn(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                            bool is_causal, double scale) {
  const auto results = at::_scaled_dot_product_cudnn_attention(
      query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), /*attn_bias=*/std::nullopt,
      /*compute_log_sumexp=*/true, /*dropout_p=*/0.0, is_causal, /*return_debug_mask=*/false, scale);
  return {std::get<0>(results).transpose(1, 2).contiguous(), std::get<1>(results).squeeze(-1)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> by_cudnn_backward(const at::Tensor& grad_out, const at::Tensor& query,
                                                                 const at::Tensor& key, const at::Tensor& value,
                                                                 const at::Tensor& out, const at::Tensor& logsumexp,
                                                                 bool is_causal, double scale) {
  const at::Tensor state = no_state(query);
  const auto [grad_query, grad_key, grad_value] = at::_scaled_dot_product_cudnn_attention_backward(
      grad_out.transpose(1, 2), query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), out.transpose(1, 2),
      logsumexp.contiguous().unsqueeze(-1), state, state, /*attn_bias=*/{}, /*cum_seq_q=*/{}, /*cum_seq_k=*/{},
      query.size(1), key.size(1), /*dropout_p=*/0.0, is_causal, scale);
  return {grad_query.transpose(1, 2).contiguous(), grad_key.transpose(1, 2).contiguous(),
          grad_value.transpose(1, 2).contiguous()};
}

// --- FlashAttention-2: [batch, seq, heads, width] ---

std::tuple<at::Tensor, at::Tensor> by_flash(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                            bool is_causal, int64_t window, double scale) {
  const auto results = at::_flash_attention_forward(query, key, value, /*cum_seq_q=*/std::nullopt,
                                                    /*cum_seq_k=*/std::nullopt, query.size(1), key.size(1),
                                                    /*dropout_p=*/0.0, is_causal, /*return_debug_mask=*/false, scale,
                                                    left_of(window), right_of(window));
  return {std::get<0>(results), std::get<1>(results)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> by_flash_backward(const at::Tensor& grad_out, const at::Tensor& query,
                                                                 const at::Tensor& key, const at::Tensor& value,
                                                                 const at::Tensor& out, const at::Tensor& logsumexp,
                                                                 bool is_causal, int64_t window, double scale) {
  const at::Tensor state = no_state(query);
  return at::_flash_attention_backward(grad_out, query, key, value, out, logsumexp.contiguous(),
                                       /*cum_seq_q=*/at::Tensor(), /*cum_seq_k=*/at::Tensor(), query.size(1),
                                       key.size(1), /*dropout_p=*/0.0, is_causal, state, state, scale, left_of(window),
                                       right_of(window));
}

// --- the same by segments: all rows joined into one, [batch * seq, heads, width] ---

at::Tensor joined(const at::Tensor& x) { return with_contiguous_rows(x.flatten(0, 1)); }

// Where the longest segment had one query, the kernels would take every one to have exactly one.
int64_t longest_of(const Segments& segments) { return std::max<int64_t>(segments.longest, 2); }

std::tuple<at::Tensor, at::Tensor> by_segments(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                               const FlashMask& mask, double scale) {
  const Segments& segments = mask.segments;
  const int64_t batch = query.size(0), query_len = query.size(1), longest = longest_of(segments);
  const auto results = at::_flash_attention_forward(joined(query), joined(key), joined(value),
                                                    joined_starts(segments.query_starts, query_len),
                                                    joined_starts(segments.key_starts, key.size(1)), longest, longest,
                                                    /*dropout_p=*/0.0, mask.is_causal, /*return_debug_mask=*/false,
                                                    scale, left_of(mask.window), right_of(mask.window));
  // [heads, batch * query_len], and infinity, not ours, where nothing is seen.
  const at::Tensor logsumexp = std::get<1>(results).unflatten(1, {batch, query_len}).transpose(0, 1);
  return {std::get<0>(results).unflatten(0, {batch, query_len}),
          at::where(logsumexp == kInfinity, -kInfinity, logsumexp)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> by_segments_backward(const at::Tensor& grad_out, const at::Tensor& query,
                                                                    const at::Tensor& key, const at::Tensor& value,
                                                                    const at::Tensor& out, const at::Tensor& logsumexp,
                                                                    const FlashMask& mask, double scale) {
  const Segments& segments = mask.segments;
  const int64_t longest = longest_of(segments);
  const at::Tensor state = no_state(query);
  const auto [grad_query, grad_key, grad_value] = at::_flash_attention_backward(
      joined(grad_out), joined(query), joined(key), joined(value), joined(out),
      at::where(logsumexp == -kInfinity, kInfinity, logsumexp).transpose(0, 1).flatten(1).contiguous(),
      joined_starts(segments.query_starts, query.size(1)), joined_starts(segments.key_starts, key.size(1)), longest,
      longest, /*dropout_p=*/0.0, mask.is_causal, state, state, scale, left_of(mask.window), right_of(mask.window));
  const auto apart = [](const at::Tensor& x, const at::Tensor& like) {
    return x.unflatten(0, {like.size(0), like.size(1)});
  };
  return {apart(grad_query, query), apart(grad_key, key), apart(grad_value, value)};
}

}  // namespace

bool fits_flash(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const FlashMask& mask,
                bool has_first_key, int64_t query_offset) {
  const at::ScalarType dtype = query.scalar_type();
  const int64_t width = query.size(3);
  return query.is_cuda() && (dtype == at::kBFloat16 || dtype == at::kHalf) &&
         (!has_first_key || mask.segments.defined()) &&
         (!mask.is_causal || (query_offset == 0 && query.size(1) == key.size(1))) && value.size(3) == width &&
         width % kWidthMultiple == 0 && width <= kLargestWidth && query.numel() > 0 && key.numel() > 0;
}

std::tuple<at::Tensor, at::Tensor> attention_flash(const at::Tensor& query, const at::Tensor& key,
                                                   const at::Tensor& value, const FlashMask& mask, double scale) {
  if (mask.segments.defined()) return by_segments(query, key, value, mask, scale);
  const at::Tensor q = with_contiguous_rows(query), k = with_contiguous_rows(key), v = with_contiguous_rows(value);
  if (prefers_cudnn(q, k, v, mask, scale)) return by_cudnn(q, k, v, mask.is_causal, scale);
  return by_flash(q, k, v, mask.is_causal, mask.window, scale);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_flash_backward(const at::Tensor& grad_out,
                                                                        const at::Tensor& query, const at::Tensor& key,
                                                                        const at::Tensor& value, const at::Tensor& out,
                                                                        const at::Tensor& logsumexp,
                                                                        const FlashMask& mask, double scale) {
  if (mask.segments.defined()) return by_segments_backward(grad_out, query, key, value, out, logsumexp, mask, scale);
  const at::Tensor q = with_contiguous_rows(query), k = with_contiguous_rows(key), v = with_contiguous_rows(value);
  const at::Tensor grad = with_contiguous_rows(grad_out), o = with_contiguous_rows(out);
  if (prefers_cudnn(q, k, v, mask, scale)) {
    return by_cudnn_backward(grad, q, k, v, o, logsumexp, mask.is_causal, scale);
  }
  return by_flash_backward(grad, q, k, v, o, logsumexp, mask.is_causal, mask.window, scale);
}

}  // namespace titan::kernels
