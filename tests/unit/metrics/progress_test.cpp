#include "titan/metrics/progress.h"

#include <gtest/gtest.h>

namespace titan::metrics {
namespace {

TEST(FormatProgress, BarGrowsWithTheSteps) {
  EXPECT_EQ(format_progress(0, 40, -1), "[>                             ]  0/40 steps");
  EXPECT_EQ(format_progress(20, 40, 32), "[===============>              ]  20/40 steps, 0:32 left");
  EXPECT_EQ(format_progress(40, 40, 0), "[==============================]  40/40 steps, 0:00 left");
}

TEST(FormatProgress, TimeLeftIsRoundedUpInTheLargestUnits) {
  const auto left = [](double seconds) { return format_progress(1, 2, seconds).substr(45); };
  EXPECT_EQ(left(0.2), "0:01 left");
  EXPECT_EQ(left(61), "1:01 left");
  EXPECT_EQ(left(3600 + 62), "1:01:02 left");
  EXPECT_EQ(left(86400 + 5), "1 day 0:00:05 left");
  EXPECT_EQ(left(3 * 86400), "3 days 0:00:00 left");
}

TEST(ProgressBar, NeverReachesAPipe) {
  testing::internal::CaptureStdout();
  {
    ProgressBar bar(0, 10);
    for (int64_t step = 1; step <= 10; ++step) bar.update(step);
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

}  // namespace
}  // namespace titan::metrics
