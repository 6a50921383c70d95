// Finds, in what a rank wrote, the line that says why it failed.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace titan::launch {

// A program that fails says so on stderr, at its end, but not only: warnings come before, and traces after. So what
// counts is the last burst of stderr lines (no pause of kPause within), and in it the first line that speaks of an
// error, else the first that is not decoration; without any, the last line of stdout at level ERROR.
class FirstError {
 public:
  using Clock = std::chrono::steady_clock;

  void add_stdout(std::string_view line);
  void add_stderr(std::string_view line, Clock::time_point now);

  // "" if it said nothing. Long lines are cut.
  std::string line() const;

 private:
  static constexpr std::chrono::seconds kPause{2};

  Clock::time_point last_;
  std::string speaks_of_error_, first_;  // of the last burst
  std::string from_stdout_;
};

}  // namespace titan::launch
