// Which keys queries see by segments, as a matrix.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include "titan/kernels/segments.h"

namespace titan::test {

// bool [batch, query_len, key_len], by the starts in all rows joined: as kernels that take segments see it.
inline at::Tensor seen_by(const kernels::Segments& segments, int64_t query_len, int64_t key_len, bool is_causal) {
  const int64_t batch = segments.query_starts.size(0);
  const at::Tensor queries = kernels::joined_starts(segments.query_starts, query_len);
  const at::Tensor keys = kernels::joined_starts(segments.key_starts, key_len);
  at::Tensor seen = at::zeros({batch * query_len, batch * key_len}, at::kBool);
  for (int64_t s = 0; s + 1 < queries.size(0); ++s) {
    const auto bounds = [&](const at::Tensor& starts) {
      return std::pair(starts[s].item<int64_t>(), starts[s + 1].item<int64_t>() - starts[s].item<int64_t>());
    };
    const auto [query, num_queries] = bounds(queries);
    const auto [key, num_keys] = bounds(keys);
    TORCH_CHECK(num_queries >= 0 && num_keys >= 0 && std::max(num_queries, num_keys) <= segments.longest);
    const at::Tensor part = seen.narrow(0, query, num_queries).narrow(1, key, num_keys).fill_(true);
    if (is_causal) part.tril_();
  }
  at::Tensor of_rows = at::zeros({batch, query_len, key_len}, at::kBool);
  for (int64_t b = 0; b < batch; ++b) {
    of_rows[b].copy_(seen.narrow(0, b * query_len, query_len).narrow(1, b * key_len, key_len));
  }
  TORCH_CHECK(seen.sum().equal(of_rows.sum()), "a query sees keys of another row");
  return of_rows;
}

}  // namespace titan::test
