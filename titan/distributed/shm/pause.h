// How a thread waits before it sleeps: it spins while every rank has a core of its own, which is fastest; then it
// offers its core to others. Where ranks share cores, spinning would only keep the one waited for from running.
#pragma once

#include <cstdint>
#include <thread>

namespace titan::distributed::shm {

struct PauseLimits {
  int64_t num_spins = 0, num_yields = 0;
};

class Pause {
 public:
  explicit Pause(PauseLimits limits) : limits_(limits) {}

  // Waits for a moment. False, at once, when it is time to sleep.
  bool brief() {
    if (num_pauses_ >= limits_.num_spins + limits_.num_yields) return false;
    if (num_pauses_++ < limits_.num_spins) {
      spin();
    } else {
      std::this_thread::yield();
    }
    return true;
  }
  // Something has happened: what comes next may come as soon.
  void restart() { num_pauses_ = 0; }

 private:
  static void spin() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  PauseLimits limits_;
  int64_t num_pauses_ = 0;
};

}  // namespace titan::distributed::shm
