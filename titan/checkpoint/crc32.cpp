#include "titan/checkpoint/crc32.h"

#include <zlib.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace titan::checkpoint {
namespace {

uint32_t crc32_of_zlib(std::span<const std::byte> bytes, uint32_t before) {
  if (bytes.empty()) return before;  // zlib takes a null pointer as a wish for the initial value
  return static_cast<uint32_t>(::crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

#if defined(__x86_64__)

constexpr size_t kLane = 16, kFold = 4 * kLane;

// The message is a polynomial over GF(2). Multiplying a 128-bit lane by x^n mod P moves it n bits on without changing
// the remainder, so 64 bytes are folded onto the next 64, then four lanes into one, then the lane into 32 bits. The
// constants are those remainders, bit-reflected, from the paper's appendix for this polynomial. `state` is the register
// itself, which zlib's CRC is the complement of. size: a multiple of 16, at least 64.
__attribute__((target("pclmul,sse4.1"))) uint32_t fold(const std::byte* data, size_t size, uint32_t state) {
  const __m128i by_512 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
  const __m128i by_128 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  const __m128i by_64 = _mm_set_epi64x(0, 0x0163cd6124);
  const __m128i barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641);
  const __m128i low_32_of_each_64 = _mm_setr_epi32(~0, 0, ~0, 0);
  const auto load = [](const std::byte* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); };

  __m128i lanes[4];
  for (size_t i = 0; i < 4; ++i) lanes[i] = load(data + i * kLane);
  lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi32_si128(static_cast<int>(state)));
  data += kFold;
  size -= kFold;

  // 1. 64 bytes at a time.
  for (; size >= kFold; data += kFold, size -= kFold) {
    for (size_t i = 0; i < 4; ++i) {
      const __m128i low = _mm_clmulepi64_si128(lanes[i], by_512, 0x00);
      const __m128i high = _mm_clmulepi64_si128(lanes[i], by_512, 0x11);
      lanes[i] = _mm_xor_si128(_mm_xor_si128(low, high), load(data + i * kLane));
    }
  }

  // 2. Four lanes into one, and what is left 16 bytes at a time.
  __m128i x = lanes[0];
  for (size_t i = 1; i < 4; ++i) {
    const __m128i low = _mm_clmulepi64_si128(x, by_128, 0x00), high = _mm_clmulepi64_si128(x, by_128, 0x11);
    x = _mm_xor_si128(_mm_xor_si128(low, high), lanes[i]);
  }
  for (; size >= kLane; data += kLane, size -= kLane) {
    const __m128i low = _mm_clmulepi64_si128(x, by_128, 0x00), high = _mm_clmulepi64_si128(x, by_128, 0x11);
    x = _mm_xor_si128(_mm_xor_si128(low, high), load(data));
  }

  // 3. 128 bits to 64, and these to 32 by Barrett's reduction.
  x = _mm_xor_si128(_mm_srli_si128(x, 8), _mm_clmulepi64_si128(x, by_128, 0x10));
  x = _mm_xor_si128(_mm_srli_si128(x, 4), _mm_clmulepi64_si128(_mm_and_si128(x, low_32_of_each_64), by_64, 0x00));
  __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(x, low_32_of_each_64), barrett, 0x10);
  quotient = _mm_clmulepi64_si128(_mm_and_si128(quotient, low_32_of_each_64), barrett, 0x00);
  return static_cast<uint32_t>(_mm_extract_epi32(_mm_xor_si128(x, quotient), 1));
}

bool can_fold() { return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"); }

#endif

}  // namespace

uint32_t crc32_of(std::span<const std::byte> bytes, uint32_t before) {
#if defined(__x86_64__)
  static const bool folds = can_fold();
  if (folds && bytes.size() >= kFold) {
    const size_t folded = bytes.size() / kLane * kLane;
    before = ~fold(bytes.data(), folded, ~before);
    bytes = bytes.subspan(folded);
  }
#endif
  return crc32_of_zlib(bytes, before);
}

uint32_t crc32_of_both(uint32_t a, uint32_t b, uint64_t num_bytes_of_b) {
  return static_cast<uint32_t>(::crc32_combine(a, b, static_cast<z_off_t>(num_bytes_of_b)));
}

}  // namespace titan::checkpoint
