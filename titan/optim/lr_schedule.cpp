#include "titan/optim/lr_schedule.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "titan/config/job_config.h"

namespace titan::optim {

LrSchedule::LrSchedule(const config::LRScheduler& config, int64_t training_steps)
    : total_steps_(config.total_steps.value_or(training_steps)),
      warmup_steps_(config.warmup_steps),
      decay_type_(config.decay_type),
      min_lr_factor_(config.min_lr_factor) {
  if (warmup_steps_ > total_steps_) {
    warnings_.push_back(fmt::format("lr_scheduler.warmup_steps ({}) exceeds the total of {} steps; using {}",
                                    warmup_steps_, total_steps_, total_steps_));
    warmup_steps_ = total_steps_;
  }
  decay_steps_ = total_steps_ - warmup_steps_;
  if (config.decay_ratio.has_value()) {
    // Python's round: halves go to the even neighbour, as the default rounding mode does.
    const auto asked =
        static_cast<int64_t>(std::nearbyint(static_cast<double>(total_steps_) * config.decay_ratio.value()));
    if (asked > decay_steps_) {
      warnings_.push_back(fmt::format("lr_scheduler.decay_ratio asks for {} steps, only {} are left after warm-up",
                                      asked, decay_steps_));
    }
    decay_steps_ = std::min(asked, decay_steps_);
  }
  // One step more than there are, so that the last one does not run at a rate of 0.
  stable_steps_ = total_steps_ + 1 - warmup_steps_ - decay_steps_;
}

double LrSchedule::factor(int64_t num_steps_done) const {
  if (num_steps_done < warmup_steps_) {
    return static_cast<double>(num_steps_done + 1) / static_cast<double>(warmup_steps_);
  }
  if (num_steps_done < warmup_steps_ + stable_steps_ || decay_steps_ == 0) return 1.0;
  const double progress = std::min(
      1.0, static_cast<double>(num_steps_done + 1 - warmup_steps_ - stable_steps_) / static_cast<double>(decay_steps_));
  const double decayed = decay_type_ == "linear" ? 1 - progress
                         : decay_type_ == "sqrt" ? 1 - std::sqrt(progress)
                                                 : 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return min_lr_factor_ + (1 - min_lr_factor_) * decayed;
}

}  // namespace titan::optim
