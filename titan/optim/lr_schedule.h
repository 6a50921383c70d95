// Warm-up, stable, decay: the learning rate's factor at each step (Hu et al. 2024, arXiv 2404.06395, section 4;
// TorchTitan's arithmetic, so that runs carry over).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace titan::config {
struct LRScheduler;
}

namespace titan::optim {

class LrSchedule {
 public:
  // `training_steps` counts where lr_scheduler.total_steps is not set. Where warm-up and decay exceed the total they
  // are shortened, warm-up last; `warnings` tells.
  LrSchedule(const config::LRScheduler& config, int64_t training_steps);

  // The factor of optimizer.lr for the step that comes after `num_steps_done` steps, in [min_lr_factor, 1] apart from
  // warm-up. Steps past the total keep the last value.
  double factor(int64_t num_steps_done) const;

  int64_t warmup_steps() const { return warmup_steps_; }
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  int64_t total_steps_;
  int64_t warmup_steps_;
  int64_t stable_steps_;
  int64_t decay_steps_;
  std::string decay_type_;
  double min_lr_factor_;
  std::vector<std::string> warnings_;
};

}  // namespace titan::optim
