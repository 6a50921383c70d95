#include "titan/distributed/shm/bell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

namespace titan::distributed::shm {

// The order of all these is one: either the sleeper sees what was stored before the ring, or the ringer sees the
// sleeper. Hence sequentially consistent, on both sides.

void Bell::ring() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (num_sleepers_.load(std::memory_order_relaxed) == 0) return;
  num_rings_.fetch_add(1, std::memory_order_seq_cst);
  syscall(SYS_futex, &num_rings_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

uint32_t Bell::enlist() {
  num_sleepers_.fetch_add(1, std::memory_order_seq_cst);
  const uint32_t ticket = num_rings_.load(std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return ticket;
}

void Bell::sleep(uint32_t ticket, std::chrono::nanoseconds patience) {
  const auto nanoseconds = std::max<int64_t>(patience.count(), 0);
  const timespec time{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  syscall(SYS_futex, &num_rings_, FUTEX_WAIT, ticket, &time, nullptr, 0);
  leave();
}

}  // namespace titan::distributed::shm
