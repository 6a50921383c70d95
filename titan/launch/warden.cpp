#include "titan/launch/warden.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace titan::launch {
namespace {

// The warden's life: `group` guards, `-group` releases, end of file means that the launcher is gone. Allocates nothing:
// it was forked, perhaps from a process with threads.
[[noreturn]] void watch(int read_end) {
  constexpr size_t kMaxGroups = 4096;
  std::array<pid_t, kMaxGroups> groups{};  // 0: free
  pid_t message = 0;
  while (true) {
    const ssize_t size = read(read_end, &message, sizeof message);  // messages are far below PIPE_BUF: never cut
    if (size < 0 && errno == EINTR) continue;
    if (size != sizeof message) break;
    for (pid_t& group : groups) {
      if (group != (message > 0 ? 0 : -message)) continue;
      group = message > 0 ? message : 0;
      break;
    }
  }
  for (const pid_t group : groups) {
    if (group != 0) kill(-group, SIGKILL);
  }
  _exit(0);
}

}  // namespace

Warden::Warden() {
  std::array<int, 2> ends{};
  TORCH_CHECK(pipe2(ends.data(), O_CLOEXEC) == 0, "cannot make a pipe: ", std::strerror(errno));
  // No signal but SIGKILL may end the warden: those that end the launcher often go to everything around it too.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_ = fork();
  if (pid_ == 0) {
    setpgid(0, 0);
    prctl(PR_SET_NAME, "titan-warden");
    close(ends[1]);
    watch(ends[0]);
  }
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(ends[0]);
  write_end_ = ends[1];
  if (pid_ < 0) close(write_end_);
  TORCH_CHECK(pid_ > 0, "cannot start a process: ", std::strerror(error));
}

Warden::~Warden() {
  close(write_end_);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Warden::guard(pid_t group) const { tell(group); }
void Warden::release(pid_t group) const { tell(-group); }

void Warden::tell(pid_t message) const {
  ssize_t written = 0;
  do written = write(write_end_, &message, sizeof message);
  while (written < 0 && errno == EINTR);
  // Should someone have killed the warden, the ranks go on without it.
}

}  // namespace titan::launch
