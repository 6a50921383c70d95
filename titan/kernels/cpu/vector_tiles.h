// Products of small matrices in fp32 by fused multiply-adds: one of the two kinds of arithmetic that attention.cpp is
// written for; amx_tiles.h is the other. Both have the same members. Only for the sources of loops (loops.h).
//
// A product is C = L R. Each element of L is multiplied with a vector of neighbouring elements of a row of R, so L may
// have any strides and R has consecutive elements.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "titan/kernels/cpu/rows.h"

namespace titan::kernels::cpu {
inline namespace CPU_CAPABILITY {

constexpr int64_t round_up(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

// Numbers of keys and queries are rounded up to this, with zeros.
constexpr int64_t kGrain = 32;

struct VectorTiles {
  using Vector = at::vec::Vectorized<float>;
  using Element = float;
  static constexpr int64_t kLanes = Vector::size();
  static constexpr int64_t kVectors = kGrain / kLanes;  // in a grain
  static constexpr int64_t kWidthGrain = 16;            // widths are rounded up to this
  // Whether a left and a right operand lie the same way in memory.
  static constexpr bool kOneLayout = true;

  struct Left {
    const float* data;
    int64_t row, column;  // strides
  };
  struct Right {
    const float* data;
    int64_t row;
  };

  // What is done before the first product of a task and after the last.
  struct Session {};

  // x: [num_rows, width] with row stride `stride` -> an operand in `to`, both rounded up to grains with zeros.
  template <class T>
  static Left pack_left(const T* x, int64_t stride, int64_t num_rows, int64_t width, float* to) {
    const int64_t row = round_up(width, kWidthGrain);
    for (int64_t r = 0; r < num_rows; ++r) {
      load_row(x + r * stride, width, to + r * row);
      for (int64_t i = width; i < row; ++i) to[r * row + i] = 0.0F;
    }
    std::fill(to + num_rows * row, to + round_up(num_rows, kGrain) * row, 0.0F);
    return {to, row, 1};
  }
  // The same transposed, [width, num_rows], for at most kTile rows. scratch: as large as `to`.
  template <int64_t kTile, class T>
  static Left pack_left_transposed(const T* x, int64_t stride, int64_t num_rows, int64_t width, float* to, float*) {
    const Left packed = pack_left(x, stride, num_rows, width, to);
    return {packed.data, 1, packed.row};
  }
  template <class T>
  static Right pack_right(const T* x, int64_t stride, int64_t num_rows, int64_t width, float* to) {
    const Left packed = pack_left(x, stride, num_rows, width, to);
    return {packed.data, packed.row};
  }
  template <int64_t kTile, class T>
  static Right pack_right_transposed(const T* x, int64_t stride, int64_t num_rows, int64_t width, float* to,
                                     float* scratch) {
    const Left packed = pack_left(x, stride, num_rows, width, scratch);
    transpose(packed.data, packed.row, round_up(num_rows, kGrain), packed.row, to, kTile);
    return {to, kTile};
  }

  // An operand and its transpose.
  struct BothRight {
    Right plain, transposed;
  };
  template <int64_t kTile, class T>
  static BothRight pack_both_right(const T* x, int64_t stride, int64_t num_rows, int64_t width, float* to,
                                   float* to_transposed, float*) {
    const Right packed = pack_right(x, stride, num_rows, width, to);
    transpose(packed.data, packed.row, round_up(num_rows, kGrain), packed.row, to_transposed, kTile);
    return {packed, {to_transposed, kTile}};
  }

  // Scores of two keys for a grain of queries, into an operand [keys, queries] of row stride kTile. `key` is even.
  template <int64_t kTile>
  static void put_right(float* to, int64_t key, int64_t query, const Vector (&x)[2][kVectors]) {
    for (int64_t row = 0; row < 2; ++row) {
      for (int64_t v = 0; v < kVectors; ++v) x[row][v].store(to + (key + row) * kTile + query + v * kLanes);
    }
  }
  template <int64_t kTile>
  static void put_left(float* to, int64_t key, int64_t query, const Vector (&x)[2][kVectors]) {
    put_right<kTile>(to, key, query, x);
  }
  template <int64_t kTile>
  static Right right_of(const float* put) {
    return {put, kTile};
  }
  template <int64_t kTile>
  static Left left_of(const float* put) {
    return {put, kTile, 1};
  }

  // Rows of a left operand from `row` on, columns of a right one from `column` on.
  static Left rows_from(Left x, int64_t row) { return {x.data + row * x.row, x.row, x.column}; }

  // How many terms a sum over `width` elements has.
  static constexpr int64_t terms(int64_t width) { return width; }

  // c: [m, n] of row stride `stride`, becomes (kAdd: has added) left [m, k] times right [k, n]; m and n are multiples
  // of 16, k is of terms().
  template <bool kAdd>
  static void multiply(float* c, int64_t stride, Left left, Right right, int64_t m, int64_t n, int64_t k) {
    // 16 sums in registers on AVX-512, 8 otherwise: enough to hide the latency of the multiply-adds.
    constexpr int64_t kSums = kLanes == 16 ? 16 : 8;
    int64_t column = 0;
    const auto columns = [&](auto num_vectors) {
      constexpr int64_t kWide = decltype(num_vectors)::value;
      for (; column + kWide * kLanes <= n; column += kWide * kLanes) {
        constexpr int64_t kHigh = kSums / kWide;
        for (int64_t row = 0; row < m; row += kHigh) {
          block<kHigh, kWide, kAdd>(c + row * stride + column, stride,
                                    {left.data + row * left.row, left.row, left.column},
                                    {right.data + column, right.row}, k);
        }
      }
    };
    if constexpr (kLanes == 16) columns(std::integral_constant<int64_t, 4>());
    columns(std::integral_constant<int64_t, 2>());
    columns(std::integral_constant<int64_t, 1>());
  }

  // x: [rows, columns], multiples of 16 -> to: [columns, rows].
  static void transpose(const float* x, int64_t stride, int64_t rows, int64_t columns, float* to, int64_t to_stride) {
    for (int64_t row = 0; row < rows; row += kLanes) {
      for (int64_t column = 0; column < columns; column += kLanes) {
        at::vec::transpose_mxn<float, kLanes, kLanes>(x + row * stride + column, stride, to + column * to_stride + row,
                                                      to_stride);
      }
    }
  }

 private:
#if defined(CPU_CAPABILITY_AVX512)
  using Register = __m512;
#elif defined(CPU_CAPABILITY_AVX2)
  using Register = __m256;
#else
  using Register = Vector;
#endif
  static Register load(const float* x) { return Vector::loadu(x); }

  template <int64_t kHigh, int64_t kWide, bool kAdd>
  static void block(float* __restrict__ c, int64_t stride, Left left, Right right, int64_t k) {
    // Unrolled, and of the bare type, or the compiler keeps the sums in memory.
    Register sums[kHigh][kWide];
#pragma GCC unroll 16
    for (int64_t i = 0; i < kHigh; ++i) {
#pragma GCC unroll 4
      for (int64_t j = 0; j < kWide; ++j) {
        sums[i][j] = kAdd ? load(c + i * stride + j * kLanes) : Register{};
      }
    }
    for (int64_t term = 0; term < k; ++term) {
      Register row[kWide];
#pragma GCC unroll 4
      for (int64_t j = 0; j < kWide; ++j) row[j] = load(right.data + term * right.row + j * kLanes);
#pragma GCC unroll 16
      for (int64_t i = 0; i < kHigh; ++i) {
        const Register element = Vector(left.data[i * left.row + term * left.column]);
#pragma GCC unroll 4
        for (int64_t j = 0; j < kWide; ++j)
          sums[i][j] = at::vec::fmadd(Vector(element), Vector(row[j]), Vector(sums[i][j]));
      }
    }
#pragma GCC unroll 16
    for (int64_t i = 0; i < kHigh; ++i) {
#pragma GCC unroll 4
      for (int64_t j = 0; j < kWide; ++j) Vector(sums[i][j]).store(c + i * stride + j * kLanes);
    }
  }
};

}  // namespace CPU_CAPABILITY
}  // namespace titan::kernels::cpu
