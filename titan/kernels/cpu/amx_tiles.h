// Products of small matrices of bfloat16 with fp32 sums on AMX, the matrix unit of some Intel CPUs: one of the two
// kinds of arithmetic that attention.cpp is written for; vector_tiles.h is the other, and says what the members mean.
// Only for the sources of loops that are built with AMX.
//
// The unit multiplies tiles: [16, 32] of a left operand, which has its rows one after the other in memory, with [32,
// 16] of a right one, of which each 32-bit word has an element of one row and the one below it. (Intel 64 and IA-32
// Architectures Software Developer's Manual, volume 1, chapter 18.)
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "titan/kernels/cpu/amx_session.h"
#include "titan/kernels/cpu/vector_tiles.h"

namespace titan::kernels::cpu {
inline namespace CPU_CAPABILITY {

struct AmxTiles {
  using Vector = at::vec::Vectorized<float>;
  using Element = c10::BFloat16;
  static constexpr int64_t kLanes = Vector::size();
  static constexpr int64_t kVectors = kGrain / kLanes;
  static constexpr int64_t kWidthGrain = 32;
  static constexpr bool kOneLayout = false;
  static_assert(kLanes == 16 && kGrain == 32);

  struct Left {
    const Element* data;
    int64_t row;
  };
  // Words: two rows, one column.
  struct Right {
    const uint32_t* data;
    int64_t row;  // of words
  };

  using Session = AmxSession;

  static Left pack_left(const Element* x, int64_t stride, int64_t num_rows, int64_t width, Element* to) {
    const int64_t row = round_up(width, kWidthGrain);
    for (int64_t r = 0; r < round_up(num_rows, kGrain); ++r) {
      for (int64_t i = 0; i < row; i += 32) {
        const int64_t count = r < num_rows ? width - i : 0;
        const auto mask = static_cast<__mmask32>(count >= 32 ? ~0U : (1U << count) - 1);
        _mm512_storeu_si512(to + r * row + i, _mm512_maskz_loadu_epi16(mask, x + r * stride + i));
      }
    }
    return {to, row};
  }
  template <int64_t kTile>
  static Left pack_left_transposed(const Element* x, int64_t stride, int64_t num_rows, int64_t width, Element* to,
                                   Element* scratch) {
    const Right packed = pack_right(x, stride, num_rows, width, scratch);
    transpose_words(packed.data, packed.row, round_up(num_rows, kGrain) / 2, packed.row,
                    reinterpret_cast<uint32_t*>(to), kTile / 2);
    return {to, kTile};
  }
  static Right pack_right(const Element* x, int64_t stride, int64_t num_rows, int64_t width, Element* to) {
    const int64_t row = round_up(width, kWidthGrain);
    auto* const words = reinterpret_cast<uint32_t*>(to);
    for (int64_t r = 0; r < round_up(num_rows, kGrain); r += 2) {
      for (int64_t i = 0; i < row; i += 16) {
        const __m512i even = words_of(x + r * stride + i, r < num_rows ? width - i : 0);
        const __m512i odd = words_of(x + (r + 1) * stride + i, r + 1 < num_rows ? width - i : 0);
        _mm512_storeu_si512(words + r / 2 * row + i, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
      }
    }
    return {words, row};
  }
  template <int64_t kTile>
  static Right pack_right_transposed(const Element* x, int64_t stride, int64_t num_rows, int64_t width, Element* to,
                                     Element* scratch) {
    const Left packed = pack_left(x, stride, num_rows, width, scratch);
    auto* const words = reinterpret_cast<uint32_t*>(to);
    transpose_words(reinterpret_cast<const uint32_t*>(packed.data), packed.row / 2, round_up(num_rows, kGrain),
                    packed.row / 2, words, kTile);
    return {words, kTile};
  }

  struct BothRight {
    Right plain, transposed;
  };
  template <int64_t kTile>
  static BothRight pack_both_right(const Element* x, int64_t stride, int64_t num_rows, int64_t width, Element* to,
                                   Element* to_transposed, Element* scratch) {
    return {pack_right(x, stride, num_rows, width, to),
            pack_right_transposed<kTile>(x, stride, num_rows, width, to_transposed, scratch)};
  }

  template <int64_t kTile>
  static void put_right(Element* to, int64_t key, int64_t query, const Vector (&x)[2][kVectors]) {
    // Lanes of the one row and the other, by turns.
    const __m512i by_turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
                                              6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (int64_t v = 0; v < kVectors; ++v) {
      const auto rounded = (__m512i)_mm512_cvtne2ps_pbh(x[1][v], x[0][v]);
      _mm512_storeu_si512(to + key * kTile + (query + v * kLanes) * 2, _mm512_permutexvar_epi16(by_turns, rounded));
    }
  }
  template <int64_t kTile>
  static void put_left(Element* to, int64_t key, int64_t query, const Vector (&x)[2][kVectors]) {
    for (int64_t row = 0; row < 2; ++row) {
      _mm512_storeu_si512(to + (key + row) * kTile + query, (__m512i)_mm512_cvtne2ps_pbh(x[row][1], x[row][0]));
    }
  }
  template <int64_t kTile>
  static Right right_of(const Element* put) {
    return {reinterpret_cast<const uint32_t*>(put), kTile};
  }
  template <int64_t kTile>
  static Left left_of(const Element* put) {
    return {put, kTile};
  }

  static Left rows_from(Left x, int64_t row) { return {x.data + row * x.row, x.row}; }

  // Zeros fill up the last tile.
  static constexpr int64_t terms(int64_t width) { return round_up(width, 32); }

  template <bool kAdd>
  static void multiply(float* c, int64_t stride, Left left, Right right, int64_t m, int64_t n, int64_t k) {
    int64_t row = 0;
    for (; row + 32 <= m; row += 32)
      two_rows_of_tiles<2, kAdd>(c + row * stride, stride, rows_from(left, row), right, n, k);
    if (row < m) two_rows_of_tiles<1, kAdd>(c + row * stride, stride, rows_from(left, row), right, n, k);
  }

 private:
  // The first `count` of 16 elements of 16 bits as words, zeros after them; reads no other.
  static __m512i words_of(const Element* x, int64_t count) {
    const auto mask = static_cast<__mmask16>(count >= 16 ? 0xFFFF : count > 0 ? (1 << count) - 1 : 0);
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x));
  }

  static void transpose_words(const uint32_t* x, int64_t stride, int64_t rows, int64_t columns, uint32_t* to,
                              int64_t to_stride) {
    VectorTiles::transpose(reinterpret_cast<const float*>(x), stride, rows, columns, reinterpret_cast<float*>(to),
                           to_stride);
  }

  template <int kHigh, bool kAdd>
  static void two_rows_of_tiles(float* c, int64_t stride, Left left, Right right, int64_t n, int64_t k) {
    int64_t column = 0;
    for (; column + 32 <= n; column += 32) {
      block<kHigh, 2, kAdd>(c + column, stride, left, {right.data + column, right.row}, k);
    }
    if (column < n) block<kHigh, 1, kAdd>(c + column, stride, left, {right.data + column, right.row}, k);
  }

  // kHigh x kWide tiles of c, in tiles 0 to 3; left operands in 4 and 5, right ones in 6 and 7.
  template <int kHigh, int kWide, bool kAdd>
  static void block(float* c, int64_t stride, Left left, Right right, int64_t k) {
    const int64_t bytes = stride * 4;
    if constexpr (kAdd) {
      _tile_loadd(0, c, bytes);
      if constexpr (kWide == 2) _tile_loadd(1, c + 16, bytes);
      if constexpr (kHigh == 2) _tile_loadd(2, c + 16 * stride, bytes);
      if constexpr (kHigh == 2 && kWide == 2) _tile_loadd(3, c + 16 * stride + 16, bytes);
    } else {
      _tile_zero(0);
      if constexpr (kWide == 2) _tile_zero(1);
      if constexpr (kHigh == 2) _tile_zero(2);
      if constexpr (kHigh == 2 && kWide == 2) _tile_zero(3);
    }
    for (int64_t term = 0; term < k; term += 32) {
      const uint32_t* const words = right.data + term / 2 * right.row;
      _tile_loadd(4, left.data + term, left.row * 2);
      _tile_loadd(6, words, right.row * 4);
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (kWide == 2) {
        _tile_loadd(7, words + 16, right.row * 4);
        _tile_dpbf16ps(1, 4, 7);
      }
      if constexpr (kHigh == 2) {
        _tile_loadd(5, left.data + 16 * left.row + term, left.row * 2);
        _tile_dpbf16ps(2, 5, 6);
        if constexpr (kWide == 2) _tile_dpbf16ps(3, 5, 7);
      }
    }
    _tile_stored(0, c, bytes);
    if constexpr (kWide == 2) _tile_stored(1, c + 16, bytes);
    if constexpr (kHigh == 2) _tile_stored(2, c + 16 * stride, bytes);
    if constexpr (kHigh == 2 && kWide == 2) _tile_stored(3, c + 16 * stride + 16, bytes);
  }
};

}  // namespace CPU_CAPABILITY
}  // namespace titan::kernels::cpu
