#include "titan/distributed/shm/engine.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>

#include "tests/support/tensors.h"
#include "tests/unit/distributed/shm/links_of_one_process.h"
#include "titan/distributed/shm/algorithms.h"

namespace titan::distributed::shm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using OperationPtr = std::shared_ptr<Operation>;

constexpr seconds kLong{60};
at::Tensor filled(int64_t numel, double value) { return at::full({numel}, value, at::kFloat); }

constexpr int64_t kSmall = 100, kLarge = 1'000'000;  // elements: in one slot, in far more than a ring has

// Two ranks, called 10 and 11.
class EngineOfTwo : public testing::Test {
 protected:
  EngineOfTwo() {
    for (auto& links : links_of_one_process(2)) engines_.push_back(std::make_unique<Engine>(std::move(links)));
  }
  Engine& engine(size_t rank) { return *engines_[rank]; }
  void close(size_t rank) { engines_[rank].reset(); }

  static Part memory_of(const at::Tensor& x) {
    return {static_cast<std::byte*>(x.data_ptr()), static_cast<int64_t>(x.nbytes())};
  }
  OperationPtr sum(size_t rank, const at::Tensor& x, milliseconds timeout = kLong) {
    Links& links = engine(rank).links();
    return engine(rank).start({}, all_reduce(links, memory_of(x), {ReduceOp::kSum, at::kFloat}, 0), {x}, timeout);
  }
  OperationPtr copy(size_t rank, const at::Tensor& x, int64_t source) {
    return engine(rank).start({}, broadcast(engine(rank).links(), memory_of(x), source), {x}, kLong);
  }
  OperationPtr message(size_t rank, const at::Tensor& x, bool sends, milliseconds timeout = kLong) {
    Links& links = engine(rank).links();
    const auto peer = static_cast<int64_t>(1 - rank);
    return engine(rank).start({sends ? Engine::Lane::Kind::kSend : Engine::Lane::Kind::kReceive, peer},
                              sends ? send(links, memory_of(x), peer, 3) : receive(links, memory_of(x), peer, 3), {x},
                              timeout);
  }
  std::string failure(size_t rank, const OperationPtr& operation) {
    try {
      engine(rank).wait(*operation);
      return "none";
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
  }
  static void expect_over_soon(const OperationPtr& operation) {
    const auto deadline = Clock::now() + seconds(20);
    while (!operation->over && Clock::now() < deadline) std::this_thread::yield();
    EXPECT_TRUE(operation->over);
  }

 private:
  std::vector<std::unique_ptr<Engine>> engines_;
};

TEST_F(EngineOfTwo, WaitsForResults) {
  for (const int64_t numel : {kSmall, kLarge}) {
    const at::Tensor x = at::ones({numel}), y = filled(numel, 2);
    auto other = std::async(std::launch::async, [&] { engine(1).wait(*sum(1, y)); });
    engine(0).wait(*sum(0, x));
    other.get();
    EXPECT_TRUE(at::equal(x, filled(numel, 3)));
    EXPECT_TRUE(at::equal(y, x));
  }
}

TEST_F(EngineOfTwo, GoesOnWhileNobodyWaits) {
  const at::Tensor x = at::ones({kLarge}), y = at::ones({kLarge});
  const OperationPtr first = sum(0, x), second = sum(1, y);
  expect_over_soon(first);
  expect_over_soon(second);
  EXPECT_TRUE(at::equal(x, filled(kLarge, 2)));
}

// Rank 0 only reads, which could wait until it wants the result; but rank 1 has no room left until it does.
TEST_F(EngineOfTwo, GoesOnWhenAnotherAsks) {
  const at::Tensor x = test::random({kLarge}, 1), y = at::zeros({kLarge});
  const OperationPtr reading = copy(0, y, /*source=*/1);
  engine(1).wait(*copy(1, x, /*source=*/1));
  engine(0).wait(*reading);
  EXPECT_TRUE(at::equal(x, y));
}

TEST_F(EngineOfTwo, MessagesDoNotWaitForCollectives) {
  const at::Tensor x = at::ones({kSmall}), y = at::zeros({kSmall});
  const OperationPtr waiting = sum(0, at::ones({kLarge}));
  engine(0).wait(*message(0, x, /*sends=*/true));
  engine(1).wait(*message(1, y, /*sends=*/false));
  EXPECT_TRUE(at::equal(x, y));
  EXPECT_FALSE(waiting->over);
  engine(1).wait(*sum(1, at::ones({kLarge})));
  engine(0).wait(*waiting);
}

TEST_F(EngineOfTwo, ServesSeveralThreads) {
  std::vector<std::future<void>> threads;
  for (const size_t rank : {0, 1}) {
    for (const bool sends : {true, false}) {
      threads.push_back(std::async(std::launch::async, [this, rank, sends] {
        for (int i = 0; i < 30; ++i) engine(rank).wait(*message(rank, filled(i * 3001, i), sends));
      }));
    }
    threads.push_back(std::async(std::launch::async, [this, rank] {
      for (int i = 0; i < 30; ++i) engine(rank).wait(*sum(rank, filled(i * 3001, i)));
    }));
  }
  for (auto& thread : threads) thread.get();
}

TEST_F(EngineOfTwo, TellsWhenItIsOver) {
  std::promise<void> told;
  const at::Tensor x = at::ones({kSmall}), y = at::ones({kSmall});
  const OperationPtr operation = sum(0, x);
  // What it calls may start the next.
  engine(0).when_over(*operation, [&] {
    message(0, x, /*sends=*/true);
    told.set_value();
  });
  engine(1).wait(*sum(1, at::ones({kSmall})));
  ASSERT_EQ(told.get_future().wait_for(seconds(20)), std::future_status::ready);
  engine(1).wait(*message(1, y, /*sends=*/false));
  EXPECT_TRUE(at::equal(y, filled(kSmall, 2)));
  bool at_once = false;
  engine(0).when_over(*operation, [&] { at_once = true; });
  EXPECT_TRUE(at_once);
}

TEST_F(EngineOfTwo, FailsAtTheDeadlineAndForGood) {
  const auto begin = Clock::now();
  EXPECT_EQ(failure(0, sum(0, at::ones({kSmall}), milliseconds(150))), "timed out waiting for rank 11");
  EXPECT_GE(Clock::now() - begin, milliseconds(150));
  EXPECT_LT(Clock::now() - begin, seconds(20));
  EXPECT_THROW(sum(0, at::ones({kSmall})), c10::Error);
  // It had sent its part; nothing comes any more.
  EXPECT_EQ(failure(1, sum(1, at::ones({kSmall}))), "none");
  EXPECT_EQ(failure(1, sum(1, at::ones({kSmall}))), "rank 10 has given up");
}

TEST_F(EngineOfTwo, CanBeHurried) {
  const OperationPtr operation = sum(0, at::ones({kSmall}));
  engine(0).hurry(*operation, milliseconds(1));
  engine(0).hurry(*operation, kLong);  // no reprieve
  EXPECT_EQ(failure(0, operation), "timed out waiting for rank 11");
}

TEST_F(EngineOfTwo, NoticesThatARankHasLeft) {
  close(1);
  const auto begin = Clock::now();
  EXPECT_EQ(failure(0, sum(0, at::ones({kSmall}))), "rank 11 has left the group");
  EXPECT_LT(Clock::now() - begin, seconds(20));
}

// In the middle of an operation, as the others see it.
TEST_F(EngineOfTwo, NoticesThatAProcessIsGone) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
  engine(0).links().head(1).process.pid = child;
  EXPECT_EQ(failure(0, sum(0, at::ones({kSmall}))), "rank 11's process " + std::to_string(child) + " is gone");
}

TEST_F(EngineOfTwo, ReadsWhatARankSentBeforeItLeft) {
  const at::Tensor x = test::random({kLarge}, 1), y = at::zeros({kLarge});
  message(1, x, /*sends=*/true);
  auto closing = std::async(std::launch::async, [&] { close(1); });
  engine(0).wait(*message(0, y, /*sends=*/false));
  closing.get();
  EXPECT_TRUE(at::equal(x, y));
}

TEST_F(EngineOfTwo, RefusesAMessageThatDoesNotFit) {
  message(1, at::ones({7}), /*sends=*/true);
  EXPECT_EQ(failure(0, message(0, at::ones({8}), /*sends=*/false)),
            "rank 11 is in a message of 28 bytes (tag 3), rank 10 in a message of 32 bytes (tag 3)");
}

}  // namespace
}  // namespace titan::distributed::shm
