#include "titan/checkpoint/chunk_reader.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace titan::checkpoint {
namespace {

constexpr int64_t kReadThrough = 64 << 10;  // bytes: a gap this short costs less than another read
constexpr int64_t kSlab = 8 << 20;          // bytes read at once where they cannot go straight to their place

std::span<std::byte> bytes_of(const at::Tensor& contiguous) {
  return {static_cast<std::byte*>(contiguous.mutable_data_ptr()), contiguous.nbytes()};
}

}  // namespace

void read_box(const RangeReader& file, uint64_t data_at, at::IntArrayRef sizes, c10::ScalarType dtype, const Box& box,
              const at::Tensor& to) {
  const bool in_place = to.device().is_cpu() && to.scalar_type() == dtype;
  if (sizes.empty()) {
    const auto value = at::empty({}, dtype);
    file.read(data_at, bytes_of(value));
    to.copy_(value);
    return;
  }
  auto row_bytes = static_cast<int64_t>(c10::elementSize(dtype));
  bool whole_rows = true;
  for (size_t dim = 1; dim < sizes.size(); ++dim) {
    row_bytes *= sizes[dim];
    whole_rows &= box.sizes[dim] == sizes[dim];
  }
  const uint64_t first = data_at + static_cast<uint64_t>(box.offsets[0] * row_bytes);

  // 1. One range, lying in memory as in the file.
  if (whole_rows && in_place && to.is_contiguous()) {
    file.read(first, bytes_of(to));
    return;
  }

  // 2. Long rows of which parts are wanted: each by itself.
  if (!whole_rows && row_bytes > kReadThrough) {
    const Box part{.offsets = {box.offsets.begin() + 1, box.offsets.end()},
                   .sizes = {box.sizes.begin() + 1, box.sizes.end()}};
    for (int64_t row = 0; row < box.sizes[0]; ++row) {
      read_box(file, first + static_cast<uint64_t>(row * row_bytes), sizes.slice(1), dtype, part, to.select(0, row));
    }
    return;
  }

  // 3. Whole rows, some at a time, from which the box is copied.
  const int64_t rows_at_once = std::clamp<int64_t>(kSlab / std::max<int64_t>(row_bytes, 1), 1, box.sizes[0]);
  auto slab_sizes = sizes.vec();
  slab_sizes[0] = rows_at_once;
  const auto slab = at::empty(slab_sizes, dtype);
  for (int64_t row = 0; row < box.sizes[0]; row += rows_at_once) {
    const int64_t num_rows = std::min(rows_at_once, box.sizes[0] - row);
    const auto rows = slab.narrow(0, 0, num_rows);
    file.read(first + static_cast<uint64_t>(row * row_bytes), bytes_of(rows));
    Box wanted = box;
    wanted.offsets[0] = 0;
    wanted.sizes[0] = num_rows;
    to.narrow(0, row, num_rows).copy_(view_of(rows, wanted));
  }
}

}  // namespace titan::checkpoint
