// The polite way to end a run: SIGINT, SIGTERM or a time limit ask for it, the trainer looks between two steps.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace titan::train {

class StopRequest {
 public:
  // Catches SIGINT and SIGTERM while it lives; one at a time. A second signal that comes more than a second later has
  // its usual effect, so an impatient Ctrl-C still ends the process; one that comes sooner is the same wish again: a
  // supervisor may signal a whole process group, and the launcher passes the signal on besides.
  explicit StopRequest(std::optional<double> max_seconds);
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  // Why to stop now ("SIGTERM", "training.max_seconds (60) are over"), or nothing.
  std::optional<std::string> reason() const;

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::optional<double> max_seconds_;
};

}  // namespace titan::train
