#include "titan/distributed/recorder/flight_recorder.h"

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <torch/csrc/distributed/c10d/Work.hpp>

namespace titan::distributed::recorder {
namespace {

Channel channel_of(std::string key) { return {.key = std::move(key), .name = "tp", .backend = "shm", .ranks = {0, 1}}; }

int64_t begin(FlightRecorder& recorder, Channel* channel, int64_t sequence) {
  const at::Tensor input = at::zeros({2, 3}), output = at::zeros({4, 3}, at::kBFloat16);
  return recorder.begin({channel, sequence, "all_gather", "_all_gather_base", input, output, std::chrono::seconds(5)});
}

TEST(FlightRecorder, KeepsWhatCallersSawAndWhen) {
  FlightRecorder recorder(4);
  Channel* const channel = recorder.channel(channel_of("0,1"));
  EXPECT_EQ(recorder.channel(channel_of("0,1")), channel);  // the same key
  int64_t id = 0;
  {
    const ServedModule outer(std::make_shared<const std::string>("layers.1"));
    const ServedModule inner(std::make_shared<const std::string>("layers.1.attention"));
    id = begin(recorder, channel, 7);
  }
  const Record begun = recorder.records().front();
  EXPECT_EQ(begun.sequence, 7);
  EXPECT_STREQ(begun.operation, "all_gather");
  EXPECT_EQ(begun.input.sizes, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(begun.output.dtype, at::kBFloat16);
  EXPECT_EQ(*begun.module, "layers.1.attention");
  EXPECT_GT(begun.enqueued_ns, 0);
  EXPECT_EQ(begun.started_ns + begun.waiting_ns + begun.done_ns, 0);
  EXPECT_EQ(recorder.open().size(), 1U);

  recorder.started(id, nullptr);
  recorder.waiting(id);
  recorder.waited(id, at::kCPU);
  const Record over = recorder.records().front();
  EXPECT_LE(over.enqueued_ns, over.started_ns);
  EXPECT_LE(over.started_ns, over.waiting_ns);
  EXPECT_LE(over.waiting_ns, over.done_ns);
  EXPECT_TRUE(recorder.open().empty());
  EXPECT_EQ(recorder.channels().front().last_done, 7);
}

// 3 places, 8 operations: the last three are there, and the end of one that is lost does nothing.
TEST(FlightRecorder, ForgetsTheOldest) {
  FlightRecorder recorder(3);
  Channel* const channel = recorder.channel(channel_of("0,1"));
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 8; ++i) ids.push_back(begin(recorder, channel, i));
  recorder.waited(ids[1], at::kCPU);
  recorder.waited(-1, at::kCPU);
  const std::vector<Record> records = recorder.records();
  ASSERT_EQ(records.size(), 3U);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(records[i].sequence, 5 + static_cast<int64_t>(i));
  EXPECT_EQ(records.front().done_ns, 0);
  EXPECT_EQ(recorder.open().size(), 3U);
  EXPECT_EQ(recorder.channels().front().last_begun, 7);
}

struct PlainWork : c10d::Work {
  bool isCompleted() override { return over; }
  bool over = false;
};

TEST(FlightRecorder, NoticesTheEndOfWhatNobodyWaitsFor) {
  FlightRecorder recorder(8);
  Channel* const channel = recorder.channel(channel_of("0,1"));
  const auto work = c10::make_intrusive<PlainWork>();
  recorder.started(begin(recorder, channel, 0), work);
  recorder.look_for_ends();
  EXPECT_EQ(recorder.open().size(), 1U);
  work->over = true;
  recorder.look_for_ends();
  EXPECT_TRUE(recorder.open().empty());
  EXPECT_EQ(work.use_count(), 1U);  // and lets go of it
}

TEST(FlightRecorder, BearsSeveralThreads) {
  FlightRecorder recorder(64);
  Channel* const channel = recorder.channel(channel_of("0,1"));
  std::atomic<bool> stopping = false;
  std::thread looks([&] {
    while (!stopping) {
      recorder.look_for_ends();
      recorder.records();
    }
  });
  for (int64_t i = 0; i < 20000; ++i) recorder.waited(begin(recorder, channel, i), at::kCPU);
  stopping = true;
  looks.join();
  EXPECT_EQ(recorder.channels().front().last_done, 19999);
}

}  // namespace
}  // namespace titan::distributed::recorder
