#include "titan/distributed/heartbeat.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

namespace titan::distributed {
namespace {

using std::chrono::milliseconds;

constexpr HeartbeatOptions kFast{milliseconds(50), milliseconds(600)};

std::unique_ptr<Heartbeat> heartbeat(const c10::intrusive_ptr<c10d::Store>& store, int64_t rank, int64_t world_size) {
  return std::make_unique<Heartbeat>(store, rank, world_size, "rank 0", kFast);
}

TEST(Heartbeat, NamesTheRankThatFellSilent) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  const auto first = heartbeat(store, 0, 3), third = heartbeat(store, 2, 3);
  EXPECT_EQ(first->blame("all_reduce", {0, 1, 2}), "rank 1 has not been heard of for 1 s");
}

TEST(Heartbeat, TellsEveryRankTheSameReason) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  const auto first = heartbeat(store, 0, 3), third = heartbeat(store, 2, 3);
  const std::string reason = first->blame("all_reduce", {0, 1, 2});
  EXPECT_EQ(third->blame("all_gather", {2, 0}), reason);
}

TEST(Heartbeat, NamesTheRankThatFailedByItself) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  const auto first = heartbeat(store, 0, 2), second = heartbeat(store, 1, 2);
  second->say_goodbye(Heartbeat::Ending::kFailed);
  EXPECT_EQ(first->blame("all_reduce", {0, 1}), "rank 1 failed by itself");
}

// Rank 1 waits for rank 2 in a group without rank 0; rank 0 waits for rank 1. Neither is to blame.
TEST(Heartbeat, LooksBehindTheRanksThatWaitThemselves) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  const auto first = heartbeat(store, 0, 3), second = heartbeat(store, 1, 3);
  auto waiting = std::async(std::launch::async, [&] { return second->blame("all_gather of ranks 1, 2", {1, 2}); });
  EXPECT_EQ(first->blame("all_reduce of ranks 0, 1", {0, 1}), "rank 2 has not been heard of for 1 s");
  EXPECT_EQ(waiting.get(), "rank 2 has not been heard of for 1 s");
}

TEST(Heartbeat, SaysWhatEachDoesWhenAllAreThere) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  const auto first = heartbeat(store, 0, 4), second = heartbeat(store, 1, 4), third = heartbeat(store, 2, 4);
  const auto fourth = heartbeat(store, 3, 4);
  third->say_goodbye(Heartbeat::Ending::kDone);
  auto waiting = std::async(std::launch::async, [&] { return second->blame("all_gather", {0, 1, 2, 3}); });
  EXPECT_EQ(first->blame("all_reduce", {0, 1, 2, 3}),
            "all ranks are there; rank 1 waited in all_gather; rank 2 had finished; rank 3 did not take part");
  EXPECT_EQ(waiting.get(),
            "all ranks are there; rank 0 waited in all_reduce; rank 2 had finished; rank 3 did not take part");
}

TEST(Heartbeat, WaitsForOthersUntilTheirGoodbye) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  const auto first = heartbeat(store, 0, 2), second = heartbeat(store, 1, 2);
  auto waiting = std::async(std::launch::async, [&] { first->wait_for_others(std::chrono::minutes(1)); });
  EXPECT_EQ(waiting.wait_for(milliseconds(200)), std::future_status::timeout);
  second->say_goodbye(Heartbeat::Ending::kDone);
  EXPECT_EQ(waiting.wait_for(std::chrono::seconds(30)), std::future_status::ready);
}

// Looking for the reason takes the second one 750 ms here, and the store, which the first one serves.
TEST(Heartbeat, WaitsForThoseThatLookForTheReason) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  const auto first = heartbeat(store, 0, 2), second = heartbeat(store, 1, 2);
  auto looking = std::async(std::launch::async, [&] { return second->blame("all_reduce", {0, 1}); });
  const auto says_so = [&] {
    return store->check({"heartbeat/1"}) && store->get_to_str("heartbeat/1").find("waited") != std::string::npos;
  };
  while (!says_so()) std::this_thread::yield();
  first->wait_for_others(std::chrono::minutes(1));
  EXPECT_EQ(looking.wait_for(milliseconds(200)), std::future_status::ready);
}

TEST(Heartbeat, DoesNotWaitForTheDead) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  const auto first = heartbeat(store, 0, 2);
  const auto begin = std::chrono::steady_clock::now();
  first->wait_for_others(std::chrono::minutes(1));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

// A store whose process is stopped: calls do not return.
class StoppedStore : public c10d::HashStore {
 public:
  using c10d::HashStore::set;
  void set(const std::string& key, const std::vector<uint8_t>& value) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !stopped_; });
    c10d::HashStore::set(key, value);
  }
  void set_stopped(bool stopped) {
    const std::scoped_lock lock(mutex_);
    stopped_ = stopped;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
};

TEST(Heartbeat, BlamesTheHostOfAStoreThatHangsAndDoesNotHangItself) {
  const auto store = c10::make_intrusive<StoppedStore>();
  auto second = heartbeat(store, 1, 2);
  store->set_stopped(true);
  const std::string reason = second->blame("all_reduce", {0, 1});
  EXPECT_EQ(reason.find("rank 0 is stopped or gone: it serves the store, which has not answered for "), 0U) << reason;
  second.reset();
  store->set_stopped(false);
}

// What each rank carries is there for the others, and tells those that run from those that do not.
TEST(Heartbeat, ShowsHowFarOthersHaveCome) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  const auto first = heartbeat(store, 0, 3), second = heartbeat(store, 1, 3);
  second->carry([] { return "0,1,2=812"; });
  std::map<int64_t, Heartbeat::Peer> peers;
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  do {
    peers = first->look_at({0, 1, 2});
  } while ((peers.at(1).positions.empty() || !peers.at(2).is_silent) && std::chrono::steady_clock::now() < give_up);
  EXPECT_EQ(peers.at(0).positions, "");
  EXPECT_EQ(peers.at(1).positions, "0,1,2=812");
  EXPECT_FALSE(peers.at(1).is_silent);
  EXPECT_TRUE(peers.at(2).is_silent);
  second->say_goodbye(Heartbeat::Ending::kDone);
  EXPECT_TRUE(first->look_at({1}).at(1).has_ended);
}

// News of a rank that waits long comes each time, that of a failure once: the first.
TEST(Heartbeat, BringsNewsToAll) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  const auto first = heartbeat(store, 0, 2), second = heartbeat(store, 1, 2);
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> heard;
  first->on_news([&](Heartbeat::News news, const std::string& text) {
    const std::scoped_lock lock(mutex);
    heard.push_back((news == Heartbeat::News::kSlow ? "slow: " : "failed: ") + text);
    changed.notify_all();
  });
  const auto wait_for = [&](size_t count) {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::seconds(20), [&] { return heard.size() >= count; });
  };
  second->tell(Heartbeat::News::kSlow, "a");
  wait_for(1);
  second->tell(Heartbeat::News::kSlow, "b");
  wait_for(2);
  second->tell(Heartbeat::News::kFailed, "c");
  second->tell(Heartbeat::News::kFailed, "d");
  wait_for(3);
  second->tell(Heartbeat::News::kSlow, "e");
  wait_for(4);
  const std::scoped_lock lock(mutex);
  EXPECT_EQ(heard, (std::vector<std::string>{"slow: a", "slow: b", "failed: c", "slow: e"}));
  first->on_news({});
}

}  // namespace
}  // namespace titan::distributed
