// Starts the ranks of a job on this machine, as torchrun does, shows their output, and brings all of them to an end
// together. Not what ranks do or say to each other: they learn who they are from their environment, and meet at
// MASTER_ADDR:MASTER_PORT by themselves (titan/distributed). Jobs of several machines run one launcher on each.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace titan::launch {

struct LaunchOptions {
  std::vector<std::string> command;  // of every rank: the program's absolute path, then its arguments
  int64_t nproc_per_node = 1;        // ranks on this machine
  int64_t num_nodes = 1;             // machines, each with nproc_per_node ranks
  int64_t node_rank = 0;             // which of them this is
  std::string master_addr = "127.0.0.1";
  int64_t master_port = 0;  // 0: a free one that the system picks, for jobs of one machine

  // Which ranks' output is shown, by local rank; nullopt: all. What a hidden rank wrote to stderr is shown if it fails.
  std::optional<std::vector<int64_t>> shown_local_ranks = std::vector<int64_t>{0};
  // Not empty: also keeps everything that each rank writes, in <log_dir>/rank<k>/{stdout,stderr}.log.
  std::string log_dir;
  // Added to the environment of every rank; wins over what the launcher sets.
  std::vector<std::pair<std::string, std::string>> environment;

  // After a rank failed, how long the others get to find out and say what they know (distributed::Heartbeat::blame
  // takes up to 4 s), and then to obey SIGTERM; then SIGKILL. 10 s in all are promised to users.
  std::chrono::milliseconds time_to_fail{5000};
  std::chrono::milliseconds time_to_terminate{3000};

  int stdout_fd = STDOUT_FILENO;  // where the ranks' stdout is shown
  int stderr_fd = STDERR_FILENO;  // where their stderr is shown, and what the launcher itself has to say
};

// Throws c10::ValueError on options that cannot be, one line that names the flag of `titan launch`.
void check(const LaunchOptions& options);

// Runs the job to its end and returns the exit code for the process:
//   0 if every rank exits with 0, also after a SIGINT or SIGTERM, which are passed on to every rank, once;
//   otherwise that of the rank that failed first, if it is 1 to 123, else 1 (signals). Each failing rank, how it ended
//   and its first error are printed, and a rank that stood still (SIGSTOP) is named as the likely cause.
// SIGUSR1 is passed on at any time: ranks write dumps of their flight recorders. A second SIGINT kills the ranks. No
// rank and nothing that ranks started outlives this call (but what left its rank's process group), nor the process,
// even if it is SIGKILLed. Catches SIGCHLD, SIGINT, SIGTERM, SIGUSR1, SIGHUP and SIGPIPE while it runs; once at a time,
// from a thread that lives as long as the ranks shall. Throws as check() does, and c10::Error if a rank cannot be
// started.
int launch_ranks(const LaunchOptions& options);

// The path of the running program, for ranks that are to be the same.
std::string own_program();

}  // namespace titan::launch
