#include "titan/device/host_arena.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace titan::device {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kRoom = 1 << 30;

TEST(HostArena, GivesTheSameSizesTheSameMemory) {
  HostArena arena(kRoom);
  std::vector<void*> first;
  for (const size_t size : {3 * kPage, 5 * kPage, kPage}) first.push_back(arena.take(size));
  EXPECT_EQ(arena.use().in_use, 9 * kPage);
  for (void* block : first) arena.give_back(block);
  EXPECT_EQ(arena.use().in_use, 0);

  EXPECT_EQ(arena.take(3 * kPage), first[0]);
  EXPECT_EQ(arena.take(5 * kPage), first[1]);
  EXPECT_EQ(arena.take(kPage), first[2]);
  EXPECT_EQ(arena.use().held, 9 * kPage);
}

TEST(HostArena, TakesTheSmallestBlockThatHoldsIt) {
  HostArena arena(kRoom);
  void* const large = arena.take(8 * kPage);
  arena.take(1);
  void* const small = arena.take(2 * kPage);
  arena.take(1);
  arena.give_back(large);
  arena.give_back(small);
  EXPECT_EQ(arena.take(2 * kPage - 1), small);
  EXPECT_EQ(arena.take(2 * kPage), large);
  EXPECT_EQ(arena.take(6 * kPage), static_cast<std::byte*>(large) + 2 * kPage);
}

TEST(HostArena, JoinsNeighboursThatAreFreedInAnyOrder) {
  std::vector<size_t> order = {0, 1, 2};
  do {
    HostArena arena(kRoom);
    std::vector<void*> blocks;
    for (size_t i = 0; i < 3; ++i) blocks.push_back(arena.take(2 * kPage));
    arena.take(1);
    for (const size_t i : order) arena.give_back(blocks[i]);
    EXPECT_EQ(arena.take(6 * kPage), blocks[0]);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(HostArena, GrowsFromWhatIsFreeAtItsEnd) {
  HostArena arena(kRoom);
  arena.take(kPage);
  void* const last = arena.take(2 * kPage);
  arena.give_back(last);
  EXPECT_EQ(arena.take(3 * kPage), last);
  EXPECT_EQ(arena.use().held, 4 * kPage);
}

TEST(HostArena, SaysThatThereIsNoRoom) {
  HostArena arena(4 * kPage);
  EXPECT_EQ(arena.take(5 * kPage), nullptr);
  EXPECT_EQ(arena.take(SIZE_MAX), nullptr);
  void* const block = arena.take(3 * kPage);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(arena.take(2 * kPage), nullptr);
  EXPECT_NE(arena.take(kPage), nullptr);
  arena.give_back(block);
  EXPECT_EQ(arena.take(3 * kPage), block);
}

TEST(HostArena, HasNoRoomWhereAddressesAreRefused) {
  HostArena arena(size_t{1} << 60);
  EXPECT_EQ(arena.take(kPage), nullptr);
  EXPECT_FALSE(arena.contains(&arena));
}

TEST(HostArena, RefusesWhatItDidNotGive) {
  HostArena arena(kRoom);
  void* const block = arena.take(2 * kPage);
  EXPECT_THROW(arena.give_back(static_cast<std::byte*>(block) + kPage), c10::Error);
  arena.give_back(block);
  EXPECT_THROW(arena.give_back(block), c10::Error);
}

// Blocks are written to their ends by several threads, and given back by others than took them.
TEST(HostArena, KeepsBlocksOfThreadsApart) {
  HostArena arena(kRoom);
  struct Block {
    unsigned char* data;
    size_t size;
    unsigned char mark;
  };
  std::mutex mutex;
  std::vector<Block> shared;
  const auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 3000; ++i) {
      if (random() % 2 == 0) {
        const size_t size = 1 + random() % (20 * kPage);
        auto* const data = static_cast<unsigned char*>(arena.take(size));
        const auto mark = static_cast<unsigned char>(random());
        std::memset(data, mark, size);
        const std::lock_guard lock(mutex);
        shared.push_back({data, size, mark});
      } else {
        Block block{};
        {
          const std::lock_guard lock(mutex);
          if (shared.empty()) continue;
          std::swap(shared[random() % shared.size()], shared.back());
          block = shared.back();
          shared.pop_back();
        }
        EXPECT_EQ(std::count(block.data, block.data + block.size, block.mark), block.size);
        arena.give_back(block.data);
      }
    }
  };
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) threads.emplace_back(work, seed);
  for (std::thread& thread : threads) thread.join();
  for (const Block& block : shared) arena.give_back(block.data);
  EXPECT_EQ(arena.use().in_use, 0);
  EXPECT_NE(arena.take(arena.use().held), nullptr);  // one block again
}

}  // namespace
}  // namespace titan::device
