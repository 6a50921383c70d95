// Runs a program to its end and keeps what it printed.
#pragma once

#include <string>
#include <vector>

namespace titan::test {

struct Finished {
  int exit_code;  // 128 + the signal's number if one ended it
  std::string out, err;
};

// argv[0] is the program's path. Ends it after `timeout_seconds` (exit code 124).
Finished run_program(const std::vector<std::string>& argv, double timeout_seconds = 120);

}  // namespace titan::test
