#include "titan/launch/signal_inbox.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace titan::launch {
namespace {

constexpr std::array<int, 6> kCaught{SIGCHLD, SIGINT, SIGTERM, SIGUSR1, SIGHUP, SIGPIPE};

// What a signal handler may write to: the inbox's pipe.
std::atomic<int> write_end{-1};
static_assert(std::atomic<int>::is_always_lock_free);

// A handler rather than SIG_IGN for SIGPIPE: exec resets handlers, but keeps what is ignored.
void handle(int signal) {
  const int saved_errno = errno;
  const auto byte = static_cast<unsigned char>(signal);
  if (signal != SIGPIPE) {
    // A full pipe has what it takes to wake the reader.
    [[maybe_unused]] const ssize_t written = write(write_end.load(), &byte, 1);
  }
  errno = saved_errno;
}

}  // namespace

SignalInbox::SignalInbox() {
  TORCH_INTERNAL_ASSERT(write_end.load() == -1, "one SignalInbox at a time");
  TORCH_CHECK(pipe2(pipe_.data(), O_CLOEXEC | O_NONBLOCK) == 0, "cannot make a pipe: ", std::strerror(errno));
  write_end.store(pipe_[1]);
  struct sigaction action {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;
  sigfillset(&action.sa_mask);
  for (size_t i = 0; i < kCaught.size(); ++i) {
    sigaction(kCaught[i], nullptr, &previous_[i]);
    if (kCaught[i] == SIGHUP && previous_[i].sa_handler == SIG_IGN) continue;
    sigaction(kCaught[i], &action, nullptr);
  }
}

SignalInbox::~SignalInbox() {
  for (size_t i = 0; i < kCaught.size(); ++i) sigaction(kCaught[i], &previous_[i], nullptr);
  write_end.store(-1);
  close(pipe_[0]);
  close(pipe_[1]);
}

std::vector<int> SignalInbox::take() {
  std::vector<int> signals;
  std::array<unsigned char, 256> bytes{};
  while (true) {
    const ssize_t size = read(fd(), bytes.data(), bytes.size());
    if (size <= 0 && !(size < 0 && errno == EINTR)) return signals;
    for (ssize_t i = 0; i < size; ++i) signals.push_back(bytes[static_cast<size_t>(i)]);
  }
}

}  // namespace titan::launch
