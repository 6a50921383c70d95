#include "titan/nn/embedding.h"

#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>

#include <vector>

namespace titan::nn {

Embedding::Embedding(int64_t num_embeddings, int64_t embedding_dim, at::ScalarType dtype)
    : weight(this, "weight", {num_embeddings, embedding_dim}, dtype) {}

at::Tensor Embedding::forward(const at::Tensor& indices) {
  if (indices.is_meta()) {  // ATen has no kernel for it
    std::vector<int64_t> sizes = indices.sizes().vec();
    sizes.push_back(weight.get().size(1));
    return at::empty(sizes, weight.get().options());
  }
  return at::embedding(weight, indices);
}

}  // namespace titan::nn
