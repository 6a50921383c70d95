#include "titan/distributed/shm/ring.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>

#include "titan/distributed/shm/pause.h"

namespace titan::distributed::shm {
namespace {

// A ring in memory of this process, so that the thread sanitizer sees both ends at the same addresses.
struct OwnRing {
  explicit OwnRing(int64_t num_readers, int64_t num_slots = 3, int64_t slot_bytes = 128)
      : layout(num_readers, num_slots, slot_bytes), memory(static_cast<size_t>(layout.bytes()) / 64 + 1) {}
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::byte* data() { return memory.front().bytes; }
  RingWriter writer() {
    std::vector<RingWriter::Reader> readers;
    for (int64_t i = 0; i < layout.num_readers(); ++i) readers.push_back({10 + i, &bell});
    return {data(), layout, readers};
  }
  RingReader reader(int64_t index) { return {data(), layout, index, 7, &bell}; }

  RingLayout layout;
  std::vector<Line> memory;
  Bell bell{};
};

TEST(Ring, IsFullUntilTheSlowestReaderHasRead) {
  OwnRing ring(2);
  RingWriter writer = ring.writer();
  RingReader first = ring.reader(0), second = ring.reader(1);
  EXPECT_FALSE(first.ready());
  EXPECT_EQ(first.waits_for(), 7);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(writer.ready());
    writer.publish({});
  }
  EXPECT_FALSE(writer.ready());
  EXPECT_EQ(writer.waits_for(), 10);
  first.release();
  EXPECT_FALSE(writer.ready());
  EXPECT_EQ(writer.waits_for(), 11);
  second.release();
  EXPECT_TRUE(writer.ready());
}

TEST(Ring, CarriesLabels) {
  OwnRing ring(1);
  RingWriter writer = ring.writer();
  RingReader reader = ring.reader(0);
  for (uint64_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(writer.ready());
    writer.publish({1, 2, i});
    ASSERT_TRUE(reader.ready());
    EXPECT_EQ(reader.label(), (Label{1, 2, i}));
    EXPECT_NE(reader.label(), (Label{1, 3, i}));
    reader.release();
  }
}

// Every reader gets every byte, in order, while the writer goes on. Rings of one slot and of several.
TEST(Ring, BringsAStreamToReadersOnOtherThreads) {
  constexpr int kNumSlots = 3000;
  for (const int64_t num_slots : {1, 2, 5}) {
    OwnRing ring(3, num_slots, 192);
    const auto wait = [](RingEnd& end) {
      while (!end.ready()) std::this_thread::yield();
    };
    std::vector<std::thread> readers;
    for (int64_t index = 0; index < 3; ++index) {
      readers.emplace_back([&, index] {
        RingReader reader = ring.reader(index);
        std::mt19937 expected(1);
        for (int i = 0; i < kNumSlots; ++i) {
          wait(reader);
          uint32_t first = 0, last = 0;
          std::memcpy(&first, reader.data(), 4);
          std::memcpy(&last, reader.data() + 188, 4);
          const uint32_t number = static_cast<uint32_t>(expected());
          if (first != number || last != ~number) {
            ADD_FAILURE() << "reader " << index << ", slot " << i;
            return;
          }
          reader.release();
        }
      });
    }
    RingWriter writer = ring.writer();
    std::mt19937 random(1);
    for (int i = 0; i < kNumSlots; ++i) {
      wait(writer);
      const uint32_t number = static_cast<uint32_t>(random()), inverse = ~number;
      std::memcpy(writer.data(), &number, 4);
      std::memcpy(writer.data() + 188, &inverse, 4);
      writer.publish({});
    }
    for (std::thread& reader : readers) reader.join();
  }
}

// With sleeping in earnest: were a ring of the bell lost, this would take 10 s for each.
TEST(Ring, WakesWhoSleepsAtItsOtherEnd) {
  constexpr int kNumSlots = 2000;
  OwnRing ring(1, 2);
  const auto wait = [&](RingEnd& end) {
    while (!end.ready()) {
      const uint32_t ticket = ring.bell.enlist();
      if (end.ready()) {
        ring.bell.leave();
      } else {
        ring.bell.sleep(ticket, std::chrono::seconds(10));
      }
    }
  };
  const auto begin = std::chrono::steady_clock::now();
  std::thread reading([&] {
    RingReader reader = ring.reader(0);
    for (int i = 0; i < kNumSlots; ++i) {
      wait(reader);
      reader.release();
    }
  });
  RingWriter writer = ring.writer();
  for (int i = 0; i < kNumSlots; ++i) {
    wait(writer);
    writer.publish({});
  }
  reading.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

}  // namespace
}  // namespace titan::distributed::shm
