#include "titan/optim/lr_schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "titan/config/job_config.h"

namespace titan::optim {
namespace {

config::LRScheduler config_of(int64_t warmup, std::optional<double> decay_ratio, std::string type = "linear",
                              double min_factor = 0.0) {
  config::LRScheduler config;
  config.warmup_steps = warmup;
  config.decay_ratio = decay_ratio;
  config.decay_type = std::move(type);
  config.min_lr_factor = min_factor;
  return config;
}

// TorchTitan's debug model: warm-up 2, decay over 8 of 10 steps; the last step runs at 1/8, not at 0.
TEST(LrSchedule, WarmsUpThenDecaysLinearly) {
  const LrSchedule schedule(config_of(2, 0.8), 10);
  const double expected[] = {0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125};
  for (int64_t step = 0; step < 10; ++step) EXPECT_NEAR(schedule.factor(step), expected[step], 1e-12) << step;
}

TEST(LrSchedule, StaysStableBetween) {
  const LrSchedule schedule(config_of(2, 0.3), 10);
  for (int64_t step = 2; step < 8; ++step) EXPECT_EQ(schedule.factor(step), 1.0);
  EXPECT_NEAR(schedule.factor(8), 2.0 / 3, 1e-12);
}

TEST(LrSchedule, DecaysBySquareRootAndCosineDownToTheMinimum) {
  const LrSchedule root(config_of(0, 1.0, "sqrt", 0.1), 4), cosine(config_of(0, 1.0, "cosine", 0.1), 4);
  EXPECT_NEAR(root.factor(1), 0.1 + 0.9 * (1 - std::sqrt(0.25)), 1e-12);
  EXPECT_NEAR(cosine.factor(2), 0.1 + 0.9 * 0.5, 1e-12);
  EXPECT_NEAR(cosine.factor(100), 0.1, 1e-12);
}

TEST(LrSchedule, TotalStepsMayDifferFromTrainingSteps) {
  config::LRScheduler config = config_of(2, 0.8);
  config.total_steps = 10;
  const LrSchedule schedule(config, 5);
  EXPECT_NEAR(schedule.factor(4), 0.75, 1e-12);
}

TEST(LrSchedule, ShortensWarmUpAndDecayWithAWarning) {
  const LrSchedule warm(config_of(200, std::nullopt), 10);
  EXPECT_EQ(warm.warmup_steps(), 10);
  EXPECT_EQ(warm.warnings().size(), 1u);
  EXPECT_NEAR(warm.factor(4), 0.5, 1e-12);
  EXPECT_EQ(warm.factor(10), 1.0);
  const LrSchedule both(config_of(5, 0.8), 10);
  EXPECT_EQ(both.warnings().size(), 1u);
  EXPECT_NEAR(both.factor(6), 0.8, 1e-12);
}

// Python rounds 2.5 to 2.
TEST(LrSchedule, RoundsDecayStepsAsPython) {
  const LrSchedule schedule(config_of(0, 0.25), 10);
  EXPECT_EQ(schedule.factor(8), 1.0);
  EXPECT_NEAR(schedule.factor(9), 0.5, 1e-12);
}

}  // namespace
}  // namespace titan::optim
