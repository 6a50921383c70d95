// The bar that stands below the log on a terminal: how far the run is and how long it will take.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace titan::metrics {

// "[=====>              ]  12/40 steps, 0:32 left"; no time while none is known (seconds_left < 0).
std::string format_progress(int64_t step, int64_t num_steps, double seconds_left);

// Does nothing unless stdout is a terminal.
class ProgressBar {
 public:
  // `first_step` steps of num_steps were done by the run that this one resumes.
  ProgressBar(int64_t first_step, int64_t num_steps);
  // Removes the bar.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `step` steps are done. Redraws at most ten times a second.
  void update(int64_t step);

 private:
  using Clock = std::chrono::steady_clock;
  int64_t first_step_;
  int64_t num_steps_;
  Clock::time_point start_;
  Clock::time_point last_draw_;
  bool shown_ = false;
};

}  // namespace titan::metrics
