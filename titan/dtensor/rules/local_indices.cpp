#include "titan/dtensor/rules/local_indices.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

namespace titan::dtensor {

LocalIndices local_indices(const at::Tensor& indices, const Segments& part) {
  LocalIndices local{at::zeros_like(indices), {}};
  int64_t position = 0;
  for (const Segment& segment : part) {
    const at::Tensor is_here = indices.ge(segment.offset).logical_and_(indices.lt(segment.offset + segment.size));
    local.indices = at::where(is_here, indices - (segment.offset - position), local.indices);
    local.is_elsewhere =
        local.is_elsewhere.defined() ? local.is_elsewhere.logical_and_(is_here.logical_not()) : is_here.logical_not();
    position += segment.size;
  }
  return local;
}

}  // namespace titan::dtensor
