// Where documents begin in rows of packed tokens. A document ends with its last token (eos), which belongs to it; so
// the token after it begins the next. What a row begins with is a document too, though its beginning lies in an earlier
// row.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace titan::data {

// tokens: [batch, seq] int64 -> for each token the index of its document's first token in the row, [batch, seq] int64.
at::Tensor document_starts(const at::Tensor& tokens, int64_t last_token);

}  // namespace titan::data
