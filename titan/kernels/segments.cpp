#include "titan/kernels/segments.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <vector>

namespace titan::kernels {

Segments document_segments(const at::Tensor& first_key) {
  TORCH_INTERNAL_ASSERT(first_key.device().is_cpu() && first_key.dim() == 2 && first_key.scalar_type() == at::kLong);
  const at::Tensor rows = first_key.contiguous();
  const int64_t batch = rows.size(0), seq_len = rows.size(1);
  std::vector<std::vector<int32_t>> starts(static_cast<size_t>(batch));
  int64_t longest = 0;
  size_t most = 1;
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t* const row = rows.const_data_ptr<int64_t>() + b * seq_len;
    std::vector<int32_t>& of_row = starts[static_cast<size_t>(b)];
    for (int64_t i = 0; i < seq_len; ++i) {
      if (i > 0 && row[i] == row[i - 1]) continue;
      if (i > 0) longest = std::max(longest, i - of_row.back());
      of_row.push_back(static_cast<int32_t>(i));
    }
    if (!of_row.empty()) longest = std::max(longest, seq_len - of_row.back());
    most = std::max(most, of_row.size());
  }
  const at::Tensor padded = at::full({batch, static_cast<int64_t>(most)}, seq_len, rows.options().dtype(at::kInt));
  for (int64_t b = 0; b < batch; ++b) {
    const std::vector<int32_t>& of_row = starts[static_cast<size_t>(b)];
    std::copy(of_row.begin(), of_row.end(), padded.mutable_data_ptr<int32_t>() + b * padded.size(1));
  }
  return {.query_starts = padded, .key_starts = padded, .longest = longest};
}

Segments reaching_segments(const at::Tensor& first_key, int64_t num_keys) {
  // What comes before the document, its part, what comes after.
  const at::Tensor num_reaching = (first_key < num_keys).sum(1);
  const at::Tensor before = first_key.select(1, 0), none = at::zeros_like(before);
  return {.query_starts = at::stack({none, none, num_reaching}, 1).to(at::kInt),
          .key_starts = at::stack({none, before, at::full_like(before, num_keys)}, 1).to(at::kInt),
          .longest = std::max(first_key.size(1), num_keys)};
}

at::Tensor joined_starts(const at::Tensor& starts, int64_t row_len) {
  const int64_t batch = starts.size(0);
  const at::Tensor row_starts = at::arange(batch, starts.options()).mul_(row_len).unsqueeze_(1);
  return at::cat({(starts + row_starts).flatten(), at::full({1}, batch * row_len, starts.options())});
}

}  // namespace titan::kernels
