// What the forward and the backward of attention share: the size of tiles, where rows are, how results are written.
// Only for the sources of loops (loops.h).
#pragma once

#include <cstdint>

#include "titan/kernels/cpu/attention.h"
#include "titan/kernels/cpu/vector_tiles.h"

namespace titan::kernels::cpu {
inline namespace CPU_CAPABILITY {

// Keys of a tile, and queries of a tile: scores take 16 KiB, half of a first-level cache.
constexpr int64_t kTile = 64;

template <class T>
const T* rows_at(const HeadRows<const void>& rows, int64_t batch, int64_t index, int64_t head) {
  return static_cast<const T*>(rows.data) + batch * rows.batch_stride + index * rows.seq_stride +
         head * rows.head_stride;
}
template <class T>
T* rows_at(const HeadRows<void>& rows, int64_t batch, int64_t index, int64_t head) {
  return static_cast<T*>(rows.data) + batch * rows.batch_stride + index * rows.seq_stride + head * rows.head_stride;
}

// x: [width, kTile], the first num_rows columns of which become rows of `to`, row i multiplied by factor(i).
// rows: scratch of kTile rows, width being rounded up to 16.
template <class T, class Factor>
void store_transposed(const float* x, int64_t width, int64_t num_rows, T* to, int64_t stride, float* rows,
                      Factor&& factor) {
  const int64_t wide = round_up(width, 16);
  VectorTiles::transpose(x, kTile, wide, kTile, rows, wide);
  for (int64_t row = 0; row < num_rows; ++row) store_row(rows + row * wide, width, factor(row), to + row * stride);
}

}  // namespace CPU_CAPABILITY
}  // namespace titan::kernels::cpu
