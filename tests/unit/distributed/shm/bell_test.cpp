#include "titan/distributed/shm/bell.h"

#include <gtest/gtest.h>

#include <thread>

namespace titan::distributed::shm {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kLong{20};

TEST(Bell, WakesAllWhoSleep) {
  Bell bell{};
  std::atomic<int> num_enlisted = 0;
  std::atomic<bool> rung = false;
  std::vector<std::thread> sleepers;
  const auto begin = Clock::now();
  for (int i = 0; i < 3; ++i) {
    sleepers.emplace_back([&] {
      while (!rung) {
        const uint32_t ticket = bell.enlist();
        ++num_enlisted;
        if (rung) {
          bell.leave();
        } else {
          bell.sleep(ticket, kLong);
        }
      }
    });
  }
  while (num_enlisted < 3) std::this_thread::yield();
  rung = true;
  bell.ring();
  for (std::thread& sleeper : sleepers) sleeper.join();
  EXPECT_LT(Clock::now() - begin, kLong);
}

TEST(Bell, IsNotMissedBetweenEnlistingAndSleeping) {
  Bell bell{};
  const uint32_t ticket = bell.enlist();
  bell.ring();
  const auto begin = Clock::now();
  bell.sleep(ticket, kLong);
  EXPECT_LT(Clock::now() - begin, kLong);
}

TEST(Bell, LetsSleepForNoLongerThanAsked) {
  Bell bell{};
  const auto begin = Clock::now();
  bell.sleep(bell.enlist(), std::chrono::milliseconds(20));
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(20));
  bell.sleep(bell.enlist(), std::chrono::milliseconds(-5));
  EXPECT_LT(Clock::now() - begin, kLong);
}

}  // namespace
}  // namespace titan::distributed::shm
