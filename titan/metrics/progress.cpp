#include "titan/metrics/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "titan/logging/logger.h"

namespace titan::metrics {
namespace {

// "0:32", "1:02:03", "3 days 4:05:06".
std::string format_duration(double seconds) {
  const auto total = static_cast<int64_t>(std::ceil(seconds));
  const int64_t days = total / 86400, hours = total / 3600 % 24, minutes = total / 60 % 60, rest = total % 60;
  if (days > 0) return fmt::format("{} day{} {}:{:02}:{:02}", days, days == 1 ? "" : "s", hours, minutes, rest);
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, rest);
  return fmt::format("{}:{:02}", minutes, rest);
}

constexpr int64_t kWidth = 30;
constexpr std::chrono::milliseconds kRedraw{100};

}  // namespace

std::string format_progress(int64_t step, int64_t num_steps, double seconds_left) {
  const double share = num_steps > 0 ? std::clamp(static_cast<double>(step) / num_steps, 0.0, 1.0) : 1.0;
  const auto filled = static_cast<int64_t>(share * kWidth);
  std::string bar(filled, '=');
  if (filled < kWidth) bar += '>';
  bar.resize(kWidth, ' ');
  std::string text = fmt::format("[{}]  {}/{} steps", bar, step, num_steps);
  if (seconds_left >= 0) text += fmt::format(", {} left", format_duration(seconds_left));
  return text;
}

ProgressBar::ProgressBar(int64_t first_step, int64_t num_steps)
    : first_step_(first_step), num_steps_(num_steps), start_(Clock::now()), last_draw_(start_ - kRedraw) {}

ProgressBar::~ProgressBar() {
  if (shown_) logging::set_status("");
}

void ProgressBar::update(int64_t step) {
  if (!logging::on_terminal()) return;
  const Clock::time_point now = Clock::now();
  if (now - last_draw_ < kRedraw) return;
  last_draw_ = now;
  shown_ = true;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const int64_t done = step - first_step_;
  const double left = done > 0 ? elapsed / static_cast<double>(done) * static_cast<double>(num_steps_ - step) : -1;
  logging::set_status(format_progress(step, num_steps_, left));
}

}  // namespace titan::metrics
