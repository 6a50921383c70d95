// Tensors that are blocks of larger ones: where their elements are there.
#pragma once

#include <ATen/core/ATen_fwd.h>
#include <c10/macros/Macros.h>
#include <c10/util/ArrayRef.h>

#include <cstdint>

namespace titan::kernels {

// Where a tensor lies in a larger one. Empty: it is the whole.
struct Block {
  at::IntArrayRef whole;    // sizes of the larger one
  at::IntArrayRef offsets;  // of the first element, by dimension
};

// A block as rows of consecutive elements of the whole: what kernels loop over.
struct BlockRows {
  static constexpr int kMostDims = 8;

  // Throws c10::ValueError if a tensor of `sizes` does not lie in the whole.
  BlockRows(at::IntArrayRef sizes, const Block& block);

  // The index in the whole of a row's first element.
  C10_HOST_DEVICE int64_t first(int64_t row) const {
    int64_t index = start;
    for (int dim = num_dims - 1; dim >= 0; --dim) {
      index += row % sizes[dim] * strides[dim];
      row /= sizes[dim];
    }
    return index;
  }

  int64_t num_rows = 1, length = 1;  // rows, and elements in each
  int64_t start = 0;
  int num_dims = 0;  // that rows are counted by
  int64_t sizes[kMostDims], strides[kMostDims];
};

}  // namespace titan::kernels
