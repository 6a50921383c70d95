// Indices into a dimension of which a rank has a part: for kernels of vocabulary-sharded embedding and loss.
#pragma once

#include <ATen/core/Tensor.h>

#include "titan/dtensor/layout.h"

namespace titan::dtensor {

struct LocalIndices {
  at::Tensor indices;       // positions in the local part; 0 where the element is elsewhere
  at::Tensor is_elsewhere;  // bool
};

// `indices`: into the global dimension, of which `part` is here and not empty.
LocalIndices local_indices(const at::Tensor& indices, const Segments& part);

}  // namespace titan::dtensor
