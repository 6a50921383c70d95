#include "titan/bench/process_age.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace titan::bench {
namespace {

TEST(ProcessAge, GoesWithTheClock) {
  const double before = process_age_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const double passed = process_age_seconds() - before;
  EXPECT_GE(before, 0);
  EXPECT_GE(passed, 0.05);
  EXPECT_LT(passed, 10);
}

// Of this process, not of the one that made it.
TEST(ProcessAge, BeginsWithTheProcess) {
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const double parent = process_age_seconds();
  const pid_t child = fork();
  if (child == 0) _exit(process_age_seconds() < parent - 0.03 ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace titan::bench
