// Signals as something to poll: while an inbox lives, the signals a launcher lives by arrive on a file descriptor, one
// number each, whichever thread the system gave them to. It decides nothing about them.
#pragma once

#include <signal.h>

#include <array>
#include <vector>

namespace titan::launch {

class SignalInbox {
 public:
  // Catches SIGCHLD, SIGINT, SIGTERM, SIGUSR1, SIGHUP (unless ignored: nohup) and SIGPIPE (writes fail with EPIPE
  // instead). One inbox at a time. Programs exec'ed meanwhile start with the usual dispositions.
  SignalInbox();
  // Gives the signals back to whoever had them before.
  ~SignalInbox();
  SignalInbox(const SignalInbox&) = delete;
  SignalInbox& operator=(const SignalInbox&) = delete;

  // Readable when there is something to take.
  int fd() const { return pipe_[0]; }

  // What arrived since the last call, in that order, without SIGPIPE. Does not block.
  std::vector<int> take();

 private:
  std::array<int, 2> pipe_{};
  std::array<struct sigaction, 6> previous_{};
};

}  // namespace titan::launch
