// One rank as a process: started, watched, signalled, ended together with what it started. It knows nothing of the
// other ranks and does not read its output.
#pragma once

#include <sys/types.h>

#include <array>
#include <string>
#include <vector>

namespace titan::launch {

// How a process ended: by exit(exit_code), or by a signal (0: none).
struct Ending {
  int exit_code = 0;
  int signal = 0;
  bool failed() const { return exit_code != 0 || signal != 0; }
};

// "SIGKILL"; "signal 40" where there is no name.
std::string signal_name(int signal);

class RankProcess {
 public:
  enum class State { kRunning, kStopped, kEnded };

  // Starts command[0], an absolute path, with `command` as its arguments and `environment` ("NAME=value") as its whole
  // environment: in a process group of its own, with /dev/null as stdin and pipes as stdout and stderr, to be SIGKILLed
  // when the calling thread ends. Returns when it runs. Throws c10::Error if it cannot be started.
  RankProcess(const std::vector<std::string>& command, const std::vector<std::string>& environment);
  // SIGKILLs the group and waits for the process, if it has not ended.
  ~RankProcess();
  RankProcess(const RankProcess&) = delete;
  RankProcess& operator=(const RankProcess&) = delete;

  // Asks the system; does not block. When the process has ended, SIGKILLs what is left of its group, then reaps it.
  State update();
  State state() const { return state_; }

  // Of a rank that has ended.
  const Ending& ending() const { return ending_; }
  // The signal that last stopped it; 0 if it was never stopped.
  int stop_signal() const { return stop_signal_; }

  // To the process alone, or to all of its group. No-ops once it has ended.
  void send(int signal) const;
  void send_to_group(int signal) const;

  // The ends of stdout and stderr to read from, non-blocking.
  const std::array<int, 2>& output_fds() const { return output_fds_; }
  pid_t pid() const { return pid_; }

 private:
  void reap();

  pid_t pid_ = -1;
  State state_ = State::kRunning;
  Ending ending_;
  int stop_signal_ = 0;
  std::array<int, 2> output_fds_{-1, -1};
};

}  // namespace titan::launch
