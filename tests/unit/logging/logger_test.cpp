#include "titan/logging/logger.h"

#include <gtest/gtest.h>

#include <regex>

namespace titan::logging {
namespace {

TEST(Logger, LineHasTorchTitansForm) {
  testing::internal::CaptureStdout();
  set_rank(3);
  info("step: {:2}", 1);
  set_rank(0);
  const std::string line = testing::internal::GetCapturedStdout();
  const std::regex form(R"(\[rank3\]:\[titan\] \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - root - INFO - step:  1\n)");
  EXPECT_TRUE(std::regex_match(line, form)) << line;
}

TEST(Logger, DropsLinesBelowItsLevel) {
  testing::internal::CaptureStdout();
  debug("not shown");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

TEST(Logger, StatusNeverReachesAPipe) {
  testing::internal::CaptureStdout();
  set_status("50%");
  set_status("");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

}  // namespace
}  // namespace titan::logging
