#include "titan/data/document_starts.h"

#include <ATen/ops/empty_like.h>

namespace titan::data {

at::Tensor document_starts(const at::Tensor& tokens, int64_t last_token) {
  const at::Tensor rows = tokens.contiguous();
  at::Tensor starts = at::empty_like(rows);
  const int64_t* token = rows.const_data_ptr<int64_t>();
  int64_t* out = starts.mutable_data_ptr<int64_t>();
  for (int64_t row = 0; row < rows.size(0); ++row) {
    int64_t start = 0;
    for (int64_t i = 0; i < rows.size(1); ++i) {
      *out++ = start;
      if (*token++ == last_token) start = i + 1;
    }
  }
  return starts;
}

}  // namespace titan::data
