// CRC-32 as zip, gzip and zlib have it (polynomial 0x04c11db7, reflected), fast enough not to be what a save waits for:
// by carry-less multiplication where the processor has it (Gopal et al. 2009, "Fast CRC Computation for Generic
// Polynomials Using PCLMULQDQ Instruction", Intel), by zlib elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace titan::checkpoint {

// Of `bytes` after bytes whose CRC-32 is `before`.
uint32_t crc32_of(std::span<const std::byte> bytes, uint32_t before = 0);

// Of a followed by b, from the CRC-32 of each and the length of b.
uint32_t crc32_of_both(uint32_t a, uint32_t b, uint64_t num_bytes_of_b);

}  // namespace titan::checkpoint
