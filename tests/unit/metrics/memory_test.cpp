#include "titan/metrics/memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace titan::metrics {
namespace {

TEST(ProcessMemory, PeakGrowsWithWhatIsTouchedAndStays) {
  constexpr size_t kSize = size_t{200} << 20;
  const int64_t before = process_memory().peak_reserved_bytes;
  EXPECT_GT(before, 1 << 20);
  {
    std::vector<char> memory(kSize);
    std::memset(memory.data(), 1, memory.size());
    volatile char sink = memory[kSize / 2];  // keeps the memory from being optimized away
    (void)sink;
  }
  const MemoryStats after = process_memory();
  EXPECT_GT(after.peak_reserved_bytes, before + static_cast<int64_t>(kSize) / 2);
  EXPECT_EQ(after.peak_active_bytes, after.peak_reserved_bytes);
  EXPECT_LE(after.peak_reserved_bytes, after.capacity_bytes);
}

TEST(MemoryCapacity, IsAtMostTheMachines) {
  EXPECT_GT(memory_capacity_bytes(), int64_t{1} << 28);
  EXPECT_LE(memory_capacity_bytes(), int64_t{sysconf(_SC_PAGE_SIZE)} * sysconf(_SC_PHYS_PAGES));
}

TEST(ToGib, DividesBy1024Cubed) { EXPECT_EQ(to_gib(int64_t{3} << 29), 1.5); }

}  // namespace
}  // namespace titan::metrics
