#include "titan/distributed/shm/bell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

namespace titan::distributed::shm {

void Bell::ring() {
  if (num_sleepers_.load() == 0) return;
  num_rings_.fetch_add(1);
  syscall(SYS_futex, &num_rings_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

uint32_t Bell::enlist() {
  num_sleepers_.fetch_add(1);
  return num_rings_.load();
}

void Bell::sleep(uint32_t ticket, std::chrono::nanoseconds patience) {
  const auto nanoseconds = std::max<int64_t>(patience.count(), 0);
  const timespec time{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  syscall(SYS_futex, &num_rings_, FUTEX_WAIT, ticket, &time, nullptr, 0);
  leave();
}

}  // namespace titan::distributed::shm
