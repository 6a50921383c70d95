// Runs a program to its end and keeps what it printed.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace titan::test {

struct Finished {
  int exit_code;  // 128 + the signal's number if one ended it
  std::string out, err;
};

// A signal to send, once, as soon as stdout contains `after`.
struct SignalOnOutput {
  int signal;
  std::string after;
};

struct RunOptions {
  double timeout_seconds = 120;  // then SIGKILL, and exit code 124
  std::optional<SignalOnOutput> signal;
  std::vector<std::pair<std::string, std::string>> environment;  // added to this process's
};

// argv[0] is the program's path.
Finished run_program(const std::vector<std::string>& argv, const RunOptions& options = {});

}  // namespace titan::test
