// fp32 = hi + mid + lo, each a bfloat16 number of 8 significant bits: hi is the nearest to the element, mid the first 8
// bits of the rest, and lo what then remains, exactly. A product of two elements is nine products of such parts, which
// the unit computes exactly; the three among them that are below 2^-24 of the whole are left out (mid lo, lo mid, lo
// lo). Sums are fp32. So a result is off by what fp32 sums are off, and by less than a chain of fused
// multiply-adds, since the unit adds in pairs (the tests compare both with fp64). The method is Henry, Tang and
// Heinecke's: Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations, arXiv
// 1904.06376.
//
// Two things differ from fp32: where an element is infinite, or above 3.39e38, the result is NaN; and parts below
// 2^-126 count as zero, so elements below 2^-110 lose digits.
//
// [Note: panels]
// A factor is packed in panels of 32 lines. For each 32 terms a panel has six tiles of the unit (amx_tiles.h), 1 KiB
// each: hi of lines 0 to 15 and of 16 to 31, mid of both, lo of both. 32 x 32 results take four tiles; from two of each
// factor, four products. The right factor's panels stay in the second-level cache while those of the left pass by.
#include "titan/kernels/cpu/split_product.h"

#include <immintrin.h>

#include "titan/kernels/cpu/amx_session.h"

namespace titan::kernels::cpu {
namespace {

constexpr int64_t kGrain = kSplitProductGrain;
constexpr int64_t kTileBytes = 1024, kPartBytes = 2 * kTileBytes, kStepBytes = 3 * kPartBytes;
constexpr int64_t kAhead = 2 * kGrain;
constexpr int64_t kMaxTerms = 512;                     // packed at a time
constexpr int64_t kPackedBytes = int64_t{1400} << 10;  // of the right factor: most of a second-level cache of 2 MiB

// ATen's and the standard library's are templates: [Note: inline functions in loops] in loops.h.
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t in_units(int64_t size, int64_t unit) { return (size + unit - 1) / unit; }
// The size of each of the fewest parts, multiples of kGrain, that have at most `limit`.
constexpr int64_t even_parts(int64_t size, int64_t limit) {
  return in_units(in_units(size, in_units(size, limit)), kGrain) * kGrain;
}

struct Blocks {
  Blocks(int64_t num_columns, int64_t num_terms)
      : terms(even_parts(num_terms, kMaxTerms)),
        panel_bytes(terms / kGrain * kStepBytes),
        columns(even_parts(num_columns, kPackedBytes / panel_bytes * kGrain)) {}
  int64_t terms, panel_bytes, columns;
};

// --- packing ---

// The three parts of 32 elements as 16-bit words: those of `a`, then those of `b`; or by turns, as pairs.
template <bool kByTurns>
[[gnu::always_inline]] inline void split(__m512 a, __m512 b, __m512i (&parts)[3]) {
  const __m512i high_words = kByTurns ? _mm512_set_epi16(63, 31, 61, 29, 59, 27, 57, 25, 55, 23, 53, 21, 51, 19, 49, 17,
                                                         47, 15, 45, 13, 43, 11, 41, 9, 39, 7, 37, 5, 35, 3, 33, 1)
                                      : _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33,
                                                         31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
  const __m512i half = _mm512_set1_epi32(0x8000), high = _mm512_set1_epi32(static_cast<int>(0xFFFF0000));
  __m512i of_a[3], of_b[3];
  const auto split_one = [&](__m512 x, __m512i(&to)[3]) __attribute__((always_inline)) {
    to[0] = _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(x), half), high);
    const __m512 hi = _mm512_castsi512_ps(to[0]);
    const __m512 rest = _mm512_sub_ps(x, hi);
    to[1] = _mm512_and_si512(_mm512_castps_si512(rest), high);
    to[2] = _mm512_castps_si512(_mm512_sub_ps(rest, _mm512_castsi512_ps(to[1])));
  };
  split_one(a, of_a);
  split_one(b, of_b);
  for (int part = 0; part < 3; ++part) parts[part] = _mm512_permutex2var_epi16(of_a[part], high_words, of_b[part]);
}

// 16 x 16 words.
[[gnu::always_inline]] inline void transpose(__m512i (&x)[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    x[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(x[i], x[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(x[i], x[4 + i], 0xDD);
    t[8 + i] = _mm512_shuffle_i32x4(x[8 + i], x[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(x[8 + i], x[12 + i], 0xDD);
  }
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    x[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xDD);
    x[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
    x[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xDD);
  }
}

// The first `count` of 16.
__mmask16 first(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xFFFF : count > 0 ? (1 << count) - 1 : 0);
}

// One panel: num_lines <= 32; zeros fill it up. The unit wants a left tile by lines, each with 16 pairs of terms, and a
// right one by pairs, each with 16 lines; what is in memory the other way round is transposed.
template <bool kLeft>
void pack(const SplitFactor& x, int64_t num_lines, int64_t num_terms, std::byte* to) {
  const bool by_lines = x.term_stride == 1;
  for (int64_t term = 0; term < num_terms; term += kGrain, to += kStepBytes) {
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t line = 16 * half;
      alignas(64) __m512i words[3][16];
      for (int i = 0; i < 16; ++i) {
        __m512i parts[3];
        if (by_lines) {
          const float* const from = x.data + (line + i) * x.line_stride + term;
          const int64_t count = line + i < num_lines ? num_terms - term : 0;
          _mm_prefetch(from + kAhead, _MM_HINT_T0);
          _mm_prefetch(from + kAhead + 16, _MM_HINT_T0);
          split<false>(_mm512_maskz_loadu_ps(first(count), from), _mm512_maskz_loadu_ps(first(count - 16), from + 16),
                       parts);
        } else {
          const float* const from = x.data + line + (term + 2 * i) * x.term_stride;
          const int64_t count = num_lines - line, num_left = num_terms - term - 2 * i;
          _mm_prefetch(from + kGrain * x.term_stride, _MM_HINT_T0);
          _mm_prefetch(from + (kGrain + 1) * x.term_stride, _MM_HINT_T0);
          split<true>(_mm512_maskz_loadu_ps(first(num_left > 0 ? count : 0), from),
                      _mm512_maskz_loadu_ps(first(num_left > 1 ? count : 0), from + x.term_stride), parts);
        }
        for (int part = 0; part < 3; ++part) words[part][i] = parts[part];
      }
      for (int part = 0; part < 3; ++part) {
        if (by_lines != kLeft) transpose(words[part]);
        std::byte* const tile = to + part * kPartBytes + half * kTileBytes;
        for (int i = 0; i < 16; ++i) _mm512_store_si512(tile + 64 * i, words[part][i]);
      }
    }
  }
}

// --- multiplying ---

[[gnu::always_inline]] inline void load_left(const std::byte* step, int part) {
  _tile_loadd(4, step + part * kPartBytes, 64);
  _tile_loadd(5, step + part * kPartBytes + kTileBytes, 64);
}
[[gnu::always_inline]] inline void load_right(const std::byte* step, int part) {
  _tile_loadd(6, step + part * kPartBytes, 64);
  _tile_loadd(7, step + part * kPartBytes + kTileBytes, 64);
}
[[gnu::always_inline]] inline void add_products() {
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
}

// c (+)= left right^T of two panels, of which num_rows and num_columns are c's.
void multiply(const std::byte* left, const std::byte* right, int64_t num_steps, float* c, int64_t stride,
              int64_t num_rows, int64_t num_columns, bool add) {
  constexpr int kHi = 0, kMid = 1, kLo = 2;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t step = 0; step < num_steps; ++step, left += kStepBytes, right += kStepBytes) {
    // In an order in which one factor's tiles stay.
    load_left(left, kLo);
    load_right(right, kHi);
    add_products();
    load_left(left, kMid);
    add_products();
    load_right(right, kMid);
    add_products();
    load_left(left, kHi);
    add_products();
    load_right(right, kLo);
    add_products();
    load_right(right, kHi);
    add_products();
  }
  alignas(64) float sums[kGrain * kGrain];
  constexpr int64_t kRowBytes = kGrain * sizeof(float);
  _tile_stored(0, sums, kRowBytes);
  _tile_stored(1, sums + 16, kRowBytes);
  _tile_stored(2, sums + 16 * kGrain, kRowBytes);
  _tile_stored(3, sums + 16 * kGrain + 16, kRowBytes);
  for (int64_t row = 0; row < num_rows; ++row) {
    for (int64_t column = 0; column < num_columns; column += 16) {
      const __mmask16 mask = first(num_columns - column);
      float* const to = c + row * stride + column;
      __m512 sum = _mm512_load_ps(sums + row * kGrain + column);
      if (add) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, to));
      _mm512_mask_storeu_ps(to, mask, sum);
    }
  }
}

SplitFactor part_from(const SplitFactor& x, int64_t line, int64_t term) {
  return {x.data + line * x.line_stride + term * x.term_stride, x.line_stride, x.term_stride};
}

}  // namespace

int64_t split_product_memory(int64_t num_columns, int64_t num_terms) {
  const Blocks blocks(num_columns, num_terms);
  return blocks.panel_bytes * (1 + blocks.columns / kGrain);
}

void split_product(const SplitFactor& left, const SplitFactor& right, int64_t num_rows, int64_t num_columns,
                   int64_t num_terms, float* c, int64_t stride, std::byte* memory) {
  const Blocks blocks(num_columns, num_terms);
  std::byte* const left_panel = memory;
  std::byte* const right_panels = memory + blocks.panel_bytes;
  const AmxSession session;
  for (int64_t column = 0; column < num_columns; column += blocks.columns) {
    const int64_t columns = least(blocks.columns, num_columns - column);
    for (int64_t term = 0; term < num_terms; term += blocks.terms) {
      const int64_t terms = least(blocks.terms, num_terms - term), num_steps = in_units(terms, kGrain);
      const auto right_panel = [&](int64_t at) { return right_panels + at / kGrain * blocks.panel_bytes; };
      for (int64_t at = 0; at < columns; at += kGrain) {
        pack<false>(part_from(right, column + at, term), least(kGrain, columns - at), terms, right_panel(at));
      }
      for (int64_t row = 0; row < num_rows; row += kGrain) {
        const int64_t rows = least(kGrain, num_rows - row);
        pack<true>(part_from(left, row, term), rows, terms, left_panel);
        for (int64_t at = 0; at < columns; at += kGrain) {
          multiply(left_panel, right_panel(at), num_steps, c + row * stride + column + at, stride, rows,
                   least(kGrain, columns - at), /*add=*/term > 0);
        }
      }
    }
  }
}

}  // namespace titan::kernels::cpu
