#include "titan/nn/embedding.h"

#include <ATen/ops/embedding.h>

namespace titan::nn {

Embedding::Embedding(int64_t num_embeddings, int64_t embedding_dim, at::ScalarType dtype)
    : weight(this, "weight", {num_embeddings, embedding_dim}, dtype) {}

at::Tensor Embedding::forward(const at::Tensor& indices) { return at::embedding(weight, indices); }

}  // namespace titan::nn
