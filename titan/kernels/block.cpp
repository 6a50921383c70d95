#include "titan/kernels/block.h"

#include <c10/util/Exception.h>

#include <vector>

namespace titan::kernels {

BlockRows::BlockRows(at::IntArrayRef of_sizes, const Block& block) {
  const at::IntArrayRef whole = block.whole.empty() ? of_sizes : block.whole;
  const std::vector<int64_t> zeros(of_sizes.size());
  const at::IntArrayRef offsets = block.offsets.empty() ? at::IntArrayRef(zeros) : block.offsets;
  bool fits = whole.size() == of_sizes.size() && offsets.size() == of_sizes.size();
  for (size_t dim = 0; fits && dim < of_sizes.size(); ++dim) {
    fits = offsets[dim] >= 0 && offsets[dim] + of_sizes[dim] <= whole[dim];
  }
  TORCH_CHECK_VALUE(fits && of_sizes.size() <= kMostDims, "Block: expected a block of at most ", kMostDims,
                    " dimensions that lies in ", whole, ", got ", of_sizes, " at ", offsets);
  // The trailing dimensions that are whole, and the last one that is not, make up a row.
  size_t dim = of_sizes.size();
  int64_t stride = 1;
  for (bool is_whole = true; dim > 0 && is_whole;) {
    --dim;
    is_whole = of_sizes[dim] == whole[dim];
    length *= of_sizes[dim];
    start += offsets[dim] * stride;
    stride *= whole[dim];
  }
  num_dims = static_cast<int>(dim);
  while (dim > 0) {
    --dim;
    num_rows *= of_sizes[dim];
    start += offsets[dim] * stride;
    sizes[dim] = of_sizes[dim];
    strides[dim] = stride;
    stride *= whole[dim];
  }
}

}  // namespace titan::kernels
