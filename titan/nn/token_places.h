// Where the tokens of a batch stand: what rotary embedding and attention must know where a row is not simply tokens
// 0, 1, 2, ... of one text. Rows may hold several documents, or be parts of longer ones (context parallelism). It says
// nothing of who made it so.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "titan/kernels/segments.h"

namespace titan::nn {

// Several in one row: a token attends to its own only.
struct Documents {
  at::Tensor first_key;  // int64 [batch, seq]: index, in the whole row, of the first token that each may attend to
  // Where each begins among the tokens that are here, and how many the longest has there: kernels::document_segments.
  at::Tensor starts;
  int64_t longest = 0;

  kernels::Segments segments() const { return {starts, starts, longest}; }
};

struct TokenPlaces {
  // Position in its document, for rotary embedding: int64 [seq], if it is the same in all rows, or [batch, seq].
  // Undefined: 0, 1, 2, ...
  at::Tensor positions;
  Documents documents;  // undefined: each row is one
};

}  // namespace titan::nn
