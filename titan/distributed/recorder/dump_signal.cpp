#include "titan/distributed/recorder/dump_signal.h"

#include <signal.h>

#include <atomic>

namespace titan::distributed::recorder {
namespace {

// What a signal handler may write to.
std::atomic<int64_t> num_signals{0};
static_assert(std::atomic<int64_t>::is_always_lock_free);

void handle(int /*signal*/) { num_signals.fetch_add(1); }

}  // namespace

void catch_dump_signal() {
  struct sigaction current {};
  if (sigaction(SIGUSR1, nullptr, &current) != 0 || current.sa_handler != SIG_DFL) return;
  struct sigaction action {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
}

int64_t num_dump_signals() { return num_signals.load(); }

}  // namespace titan::distributed::recorder
