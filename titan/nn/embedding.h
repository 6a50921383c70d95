// Rows of a table by index.
#pragma once

#include "titan/nn/module.h"

namespace titan::nn {

class Embedding : public Callable<Embedding> {
 public:
  Embedding(int64_t num_embeddings, int64_t embedding_dim, at::ScalarType dtype);

  // indices: [...] int64 in [0, num_embeddings) -> [..., embedding_dim]
  at::Tensor forward(const at::Tensor& indices);

  Parameter weight;  // [num_embeddings, embedding_dim]
};

}  // namespace titan::nn
