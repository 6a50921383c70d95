#include "titan/kernels/attention_flash.h"

#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/empty.h>

namespace titan::kernels {
namespace {

constexpr int64_t kLargestWidth = 256, kWidthMultiple = 8;

// Keys to the left of a query's own that it sees. None: all.
std::optional<int64_t> left_of(int64_t window) { return window > 0 ? std::optional(window - 1) : std::nullopt; }
std::optional<int64_t> right_of(int64_t window) { return window > 0 ? std::optional<int64_t>(0) : std::nullopt; }

at::Tensor with_contiguous_rows(const at::Tensor& x) { return x.stride(-1) == 1 ? x : x.contiguous(); }

}  // namespace

bool fits_flash(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                const std::optional<at::Tensor>& first_key, bool is_causal, int64_t query_offset) {
  const at::ScalarType dtype = query.scalar_type();
  const int64_t width = query.size(3);
  return query.is_cuda() && (dtype == at::kBFloat16 || dtype == at::kHalf) && !first_key.has_value() &&
         (!is_causal || (query_offset == 0 && query.size(1) == key.size(1))) && value.size(3) == width &&
         width % kWidthMultiple == 0 && width <= kLargestWidth && query.numel() > 0 && key.numel() > 0;
}

std::tuple<at::Tensor, at::Tensor> attention_flash(const at::Tensor& query, const at::Tensor& key,
                                                   const at::Tensor& value, bool is_causal, int64_t window,
                                                   double scale) {
  const auto results = at::_flash_attention_forward(
      with_contiguous_rows(query), with_contiguous_rows(key), with_contiguous_rows(value), /*cum_seq_q=*/std::nullopt,
      /*cum_seq_k=*/std::nullopt, query.size(1), key.size(1), /*dropout_p=*/0.0, is_causal,
      /*return_debug_mask=*/false, scale, left_of(window), right_of(window));
  return {std::get<0>(results), std::get<1>(results)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_flash_backward(const at::Tensor& grad_out,
                                                                        const at::Tensor& query, const at::Tensor& key,
                                                                        const at::Tensor& value, const at::Tensor& out,
                                                                        const at::Tensor& logsumexp, bool is_causal,
                                                                        int64_t window, double scale) {
  // Without dropout there are no random numbers, whose state it asks for all the same.
  const at::Tensor no_state = at::empty({}, query.options().dtype(at::kLong));
  return at::_flash_attention_backward(with_contiguous_rows(grad_out), with_contiguous_rows(query),
                                       with_contiguous_rows(key), with_contiguous_rows(value),
                                       with_contiguous_rows(out), logsumexp.contiguous(), /*cum_seq_q=*/at::Tensor(),
                                       /*cum_seq_k=*/at::Tensor(), query.size(1), key.size(1), /*dropout_p=*/0.0,
                                       is_causal, no_state, no_state, scale, left_of(window), right_of(window));
}

}  // namespace titan::kernels
