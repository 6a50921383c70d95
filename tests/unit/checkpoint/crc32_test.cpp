#include "titan/checkpoint/crc32.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <vector>

namespace titan::checkpoint {
namespace {

std::vector<std::byte> noise(size_t size) {
  std::vector<std::byte> bytes(size);
  uint32_t state = 1;
  for (std::byte& b : bytes) {
    state = state * 1664525 + 1013904223;
    b = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

uint32_t of_zlib(std::span<const std::byte> bytes, uint32_t before) {
  return static_cast<uint32_t>(::crc32(before, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// Every length around the steps of 16 and 64 bytes, at every alignment, after something and after nothing.
TEST(Crc32, IsZlibs) {
  const auto bytes = noise(1000);
  for (size_t begin = 0; begin < 17; ++begin) {
    for (size_t size = 1; size < 400; ++size) {
      const auto part = std::span(bytes).subspan(begin, size);
      for (const uint32_t before : {0u, 0xdeadbeefu}) ASSERT_EQ(crc32_of(part, before), of_zlib(part, before)) << size;
    }
  }
  EXPECT_EQ(crc32_of({}, 7), 7u);
  EXPECT_EQ(crc32_of(std::as_bytes(std::span("123456789", 9))), 0xcbf43926u);  // the standard's check value
}

TEST(Crc32, OfPartsMakesThatOfTheWhole) {
  const auto bytes = noise(5000);
  const auto all = std::span(std::as_const(bytes));
  for (const size_t cut : {0, 1, 63, 64, 4096, 4999, 5000}) {
    const auto a = all.first(cut), b = all.subspan(cut);
    EXPECT_EQ(crc32_of_both(crc32_of(a), crc32_of(b), b.size()), crc32_of(all)) << cut;
  }
}

}  // namespace
}  // namespace titan::checkpoint
