// Where the tokens of a batch stand: what rotary embedding and attention must know where a row is not simply tokens
// 0, 1, 2, ... of one text. Rows may hold several documents, or be parts of longer ones (context parallelism). It says
// nothing of who made it so.
#pragma once

#include <ATen/core/Tensor.h>

namespace titan::nn {

struct TokenPlaces {
  // Position in its document, for rotary embedding: int64 [seq], if it is the same in all rows, or [batch, seq].
  // Undefined: 0, 1, 2, ...
  at::Tensor positions;
  // int64 [batch, seq]: index, in the whole row, of the first token that each may attend to. Undefined: 0.
  at::Tensor first_key;
};

}  // namespace titan::nn
