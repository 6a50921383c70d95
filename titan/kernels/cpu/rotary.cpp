#include "titan/kernels/cpu/rotary.h"

#include <type_traits>

#include "titan/kernels/cpu/compiled_for.h"
#include "titan/kernels/cpu/floats.h"

namespace titan::kernels::cpu {
namespace {

// Elements of a head that are turned at a time: 1 KiB of fp32, in the first-level cache.
constexpr int64_t kBlock = 256;
static_assert(kBlock % kFloats == 0);

template <class T>
void widen(const T* x, float* to, int64_t size) {
  for_each_vector(size, [&](int64_t i, auto at) { at.store(to + i, at.load(x + i)); });
}

template <class T>
void narrow(const float* x, T* to, int64_t size) {
  for_each_vector(size, [&](int64_t i, auto at) { at.store(to + i, at.load(x + i)); });
}

// Pairs (2i, 2i + 1) of `size` elements. The compiler makes shuffles of it.
[[gnu::always_inline]] inline void turn_pairs(const float* __restrict from, const float* __restrict turns, float sign,
                                              float* __restrict to, int64_t size) {
  for (int64_t i = 0; i < size; i += 2) {
    const float cosine = turns[i], sine = sign * turns[i + 1];
    to[i] = from[i] * cosine - from[i + 1] * sine;
    to[i + 1] = from[i] * sine + from[i + 1] * cosine;
  }
}

template <class T>
void turn_neighbours(const T* x, const float* turns, float sign, T* y, int64_t size) {
  if constexpr (std::is_same_v<T, float>) return turn_pairs(x, turns, sign, y, size);
  alignas(64) float from[kBlock], to[kBlock];
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t count = size - begin < kBlock ? size - begin : kBlock;
    widen(x + begin, from, count);
    turn_pairs(from, turns + begin, sign, to, count);
    narrow(to, y + begin, count);
  }
}

// Pairs (i, i + size / 2).
template <class T>
void turn_halves(const T* x, const float* turns, float sign, T* y, int64_t size) {
  constexpr int64_t kHalf = kBlock / 2;
  alignas(64) float low[kHalf], high[kHalf], low_to[kHalf], high_to[kHalf];
  const int64_t half = size / 2;
  for (int64_t begin = 0; begin < half; begin += kHalf) {
    const int64_t count = half - begin < kHalf ? half - begin : kHalf;
    widen(x + begin, low, count);
    widen(x + half + begin, high, count);
    for (int64_t i = 0; i < count; ++i) {
      const float cosine = turns[2 * (begin + i)], sine = sign * turns[2 * (begin + i) + 1];
      low_to[i] = low[i] * cosine - high[i] * sine;
      high_to[i] = low[i] * sine + high[i] * cosine;
    }
    narrow(low_to, y + begin, count);
    narrow(high_to, y + half + begin, count);
  }
}

void turn(const RotaryCall& call, int64_t begin_row, int64_t end_row) {
  const float sign = call.back ? -1.0F : 1.0F;
  with_type(call.dtype, [&]<class T>(T*) {
    for (int64_t row = begin_row; row < end_row; ++row) {
      const int64_t sample = row / call.seq, position = row % call.seq;
      const T* const x = static_cast<const T*>(call.x) + sample * call.batch_stride + position * call.seq_stride;
      T* const y = static_cast<T*>(call.y) + row * call.heads * call.head_dim;
      const float* const turns = call.turns + sample * call.turns_batch_stride + position * call.head_dim;
      for (int64_t head = 0; head < call.heads; ++head) {
        const T* const from = x + head * call.head_stride;
        T* const to = y + head * call.head_dim;
        if (call.halves) {
          turn_halves(from, turns, sign, to, call.head_dim);
        } else {
          turn_neighbours(from, turns, sign, to, call.head_dim);
        }
      }
    }
  });
}

}  // namespace

template <>
RotaryLoops loops_for<RotaryLoops, kCompiledFor>() {
  return {.turn = turn};
}

}  // namespace titan::kernels::cpu
