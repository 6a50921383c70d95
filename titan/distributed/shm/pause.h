// How a thread waits before it sleeps: it yields its core, some hundred times. Where other ranks share the core, that
// lets the one run that is waited for; where none do, it costs no more than spinning. But where others compute on the
// core, who yields goes last, and who sleeps goes first when he is woken: so a yield that took long is the last one for
// a while. Measured: benchmarks/collectives.md.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

namespace titan::distributed::shm {

// What the threads of an engine know of their cores. Thread-safe.
class Yielding {
 public:
  // Yields once. False, at once, while that does not pay.
  bool try_once() {
    using Clock = std::chrono::steady_clock;
    constexpr std::chrono::microseconds kLong{200};
    constexpr std::chrono::seconds kAWhile{1};
    const auto begin = Clock::now();
    if (begin.time_since_epoch().count() < not_before_.load(std::memory_order_relaxed)) return false;
    std::this_thread::yield();
    const auto end = Clock::now();
    if (end - begin > kLong) not_before_.store((end + kAWhile).time_since_epoch().count(), std::memory_order_relaxed);
    return true;
  }

 private:
  std::atomic<std::chrono::steady_clock::rep> not_before_ = 0;
};

// One wait.
class Pause {
 public:
  explicit Pause(Yielding& yielding) : yielding_(yielding) {}

  // Waits for a moment. False, at once, when it is time to sleep.
  bool brief() {
    constexpr int kMostYields = 100;
    return num_yields_ < kMostYields && (++num_yields_, yielding_.try_once());
  }
  // Something has happened: what comes next may come as soon.
  void restart() { num_yields_ = 0; }

 private:
  Yielding& yielding_;
  int num_yields_ = 0;
};

}  // namespace titan::distributed::shm
