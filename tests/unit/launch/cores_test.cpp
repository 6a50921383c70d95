#include "titan/launch/cores.h"

#include <gtest/gtest.h>

#include <thread>

namespace titan::launch {
namespace {

TEST(Cores, ALimitOfTimeIsRoundedUpToCores) {
  EXPECT_EQ(cores_of_cpu_max("200000 100000\n"), 2);
  EXPECT_EQ(cores_of_cpu_max("150000 100000\n"), 2);
  EXPECT_EQ(cores_of_cpu_max("50000 100000\n"), 1);
}

TEST(Cores, NoLimitIsNone) {
  for (const char* text : {"max 100000\n", "", "max", "100000", "0 0", "-1 100000"}) {
    EXPECT_EQ(cores_of_cpu_max(text), std::nullopt) << text;
  }
}

TEST(Cores, ThereIsAtLeastOneAndAtMostWhatTheMachineHas) {
  EXPECT_GE(num_usable_cores(), 1);
  EXPECT_LE(num_usable_cores(), static_cast<int64_t>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace titan::launch
