// The masks of documents, put as FlashAttention's "variable length" kernels take them: rows are cut into segments, and
// the queries of each see keys of one stretch only. Then nothing is computed, nor held, for what is not seen.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace titan::kernels {

// In row b, the queries from query_starts[b][s] on see keys from key_starts[b][s] on, both up to where the next segment
// starts, or to the end of the row. Starts ascend, and the first is 0; segments may be empty.
struct Segments {
  at::Tensor query_starts, key_starts;  // int32 [batch, most segments of a row]; undefined: nothing is known of any
  int64_t longest = 0;                  // at least the queries, and the keys, of every segment

  bool defined() const { return query_starts.defined(); }
};

// Of queries that are their own keys, with documents in a row: a segment for each. first_key: int64 [batch, seq] on the
// CPU, for each token the index in the row (or in that of which this is a part) of its document's first.
Segments document_segments(const at::Tensor& first_key);

// Of queries that come after all of `num_keys` keys in the same sequence: those keys are seen only by the document that
// reaches from them to the queries, and it is the queries' first. first_key: int64 [batch, query_len], for each query
// how many of the keys are before its document. On first_key's device, without waiting for it.
Segments reaching_segments(const at::Tensor& first_key, int64_t num_keys);

// Where each segment starts when all rows are joined into one, and where the last one ends: int32 [batch * segments +
// 1]. starts: query_starts or key_starts; row_len: queries or keys of a row.
at::Tensor joined_starts(const at::Tensor& starts, int64_t row_len);

}  // namespace titan::kernels
