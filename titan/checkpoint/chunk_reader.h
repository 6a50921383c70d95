// Copies part of a tensor that lies row after row in a file into memory, reading no more of the file than it must.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "titan/checkpoint/boxes.h"
#include "titan/checkpoint/range_reader.h"

namespace titan::checkpoint {

// The elements of a contiguous tensor of `sizes` and `dtype` start at byte `data_at` of `file`. Copies those in `box`
// into `to`, which has the box's sizes, and any dtype, strides and device. Gaps between the rows of a box that are
// shorter than a read is worth are read too.
void read_box(const RangeReader& file, uint64_t data_at, at::IntArrayRef sizes, c10::ScalarType dtype, const Box& box,
              const at::Tensor& to);

}  // namespace titan::checkpoint
