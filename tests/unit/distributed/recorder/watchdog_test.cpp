#include "titan/distributed/recorder/watchdog.h"

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <stdexcept>
#include <thread>

#include "tests/support/tiny_job.h"
#include "titan/trace/dump_file.h"

namespace titan::distributed::recorder {
namespace {

using std::chrono::milliseconds;
using Peer = Heartbeat::Peer;

constexpr milliseconds kSoon{10};

bool comes_true(const std::function<bool()>& condition) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

Record record_of(Channel& channel, int64_t sequence) {
  Record record;
  record.channel = &channel;
  record.sequence = sequence;
  record.operation = "all_gather";
  return record;
}

TEST(Standing, NamesWhoIsMissingAndWhoWaits) {
  Channel channel{.key = "0,1,2,3,4", .name = "tp", .backend = "shm", .ranks = {0, 1, 2, 3, 4}};
  const std::map<int64_t, Peer> peers{
      {0, {.positions = "0,1,2,3,4=12;10,1,2,3,4=5"}},
      {1, {.is_silent = true, .age = std::chrono::seconds(40), .positions = "0,1,2,3,4=11"}},
      {2, {.positions = "0,2:7;0,2=7;0,1,2,3,4=9"}},
      {3, {.positions = "0,1,2,3,4=13"}},
      {4, {.has_ended = true, .positions = "0,1,2,3,4=11"}}};
  const Standing standing = standing_of(record_of(channel, 12), /*rank=*/3, peers);
  EXPECT_EQ(standing.waiting, (std::vector<int64_t>{0, 3}));
  EXPECT_EQ(standing.text,
            "rank 1 has not been heard of for 40 s, its last was 11; rank 2 has not reached it, its last was 9, and it "
            "waits for others itself; rank 4 has ended, its last was 11; ranks 0, 3 wait");
}

TEST(Standing, OfNobodyMissing) {
  Channel channel{.key = "0,1", .name = "tp", .backend = "shm", .ranks = {0, 1}};
  EXPECT_EQ(standing_of(record_of(channel, 2), 0, {{1, {.positions = "0,1=2"}}}).text,
            "all ranks have reached it; ranks 0, 1 wait");
  EXPECT_EQ(standing_of(record_of(channel, 2), 0, {}).text, "of rank 1 nothing is known; rank 0 waits");
}

TEST(Positions, SayHowFarAndWhatIsWaitedFor) {
  FlightRecorder recorder(10);
  Channel* const one = recorder.channel({.key = "0,1", .name = "tp", .backend = "shm", .ranks = {0, 1}});
  recorder.channel({.key = "0,1:0>1", .name = "tp 0->1", .backend = "shm", .ranks = {0, 1}, .sender = 0});
  const at::Tensor x = at::zeros({1});
  const int64_t id = recorder.begin({one, 3, "all_reduce", "all_reduce", x, x});
  EXPECT_EQ(positions_of(recorder), "0,1=3;0,1:0>1=-1");
  recorder.waiting(id);
  EXPECT_EQ(positions_of(recorder), "0,1:3;0,1=3;0,1:0>1=-1");
}

class WritingWatchdog : public testing::Test {
 protected:
  std::string reason() const { return std::filesystem::exists(path_) ? trace::read_dump(path_).reason : "none"; }

  test::OutputFolder folder_;
  std::filesystem::path path_ = folder_.path() / "rank_0";
  std::shared_ptr<FlightRecorder> recorder_ = std::make_shared<FlightRecorder>(10);
};

TEST_F(WritingWatchdog, WritesWhenAskedBySignal) {
  const Watchdog watchdog(recorder_, nullptr, 0, 2, {.dump_path = path_, .interval = kSoon});
  raise(SIGUSR1);
  EXPECT_TRUE(comes_true([&] { return reason() == "asked"; }));
}

TEST_F(WritingWatchdog, WritesAtHalfOfATimeout) {
  const Watchdog watchdog(recorder_, nullptr, 0, 2, {.dump_path = path_, .interval = kSoon});
  Channel* const channel = recorder_->channel({.key = "0,1", .name = "tp", .backend = "shm", .ranks = {0, 1}});
  const at::Tensor x = at::zeros({1});
  recorder_->waited(recorder_->begin({channel, 0, "all_reduce", "all_reduce", x, x, kSoon}), at::kCPU);
  recorder_->begin({channel, 1, "all_reduce", "all_reduce", x, x, milliseconds(200)});
  ASSERT_TRUE(comes_true([&] { return reason() == "slow"; }));
  const std::string message = trace::read_dump(path_).message;
  EXPECT_EQ(message.find("all_reduce 1 on tp is not over after "), 0U) << message;
  EXPECT_NE(message.find("of rank 1 nothing is known; rank 0 waits"), std::string::npos) << message;
}

TEST_F(WritingWatchdog, KeepsTheStrongerReason) {
  Watchdog watchdog(recorder_, nullptr, 0, 2, {.dump_path = path_});
  watchdog.dump(Reason::kOperation, "first");
  watchdog.dump(Reason::kElsewhere, "second");
  EXPECT_EQ(trace::read_dump(path_).message, "first");
  watchdog.dump(Reason::kException, "third");
  EXPECT_EQ(trace::read_dump(path_).message, "third");
}

// As Gloo's threads do, with a message that is longer than awaited.
TEST_F(WritingWatchdog, WritesWhenTheProgramTerminates) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";  // this program again, so not a folder of this test's own
  const auto path = std::filesystem::temp_directory_path() / "titan_test_terminated" / "rank_0";
  EXPECT_DEATH(
      {
        const Watchdog watchdog(recorder_, nullptr, 0, 2, {.dump_path = path});
        std::thread([] { throw std::runtime_error("too long a message"); }).join();
      },
      "too long a message");
  const trace::Dump dump = trace::read_dump(path);
  EXPECT_EQ(dump.reason, "operation");
  EXPECT_EQ(dump.message, "too long a message");
  std::filesystem::remove_all(path.parent_path());
}

TEST_F(WritingWatchdog, BearsAPlaceItCannotWriteTo) {
  Watchdog watchdog(recorder_, nullptr, 0, 2, {.dump_path = "/proc/nowhere/rank_0"});
  watchdog.dump(Reason::kOperation, "");  // a warning
}

}  // namespace
}  // namespace titan::distributed::recorder
