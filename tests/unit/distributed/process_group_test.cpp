#include "titan/distributed/process_group.h"

#include <gtest/gtest.h>

#include <numeric>

namespace titan::distributed {
namespace {

TEST(NameOfRanks, IsShortForAnyNumber) {
  EXPECT_EQ(name_of_ranks({3}), "rank 3");
  EXPECT_EQ(name_of_ranks({0, 1}), "ranks 0, 1");
  EXPECT_EQ(name_of_ranks({4, 5, 6}), "ranks 4-6");
  EXPECT_EQ(name_of_ranks({0, 2, 4, 6}), "ranks 0, 2, 4, 6");
  std::vector<int64_t> many;
  for (int64_t i = 0; i < 100; ++i) many.push_back(8 * i);
  EXPECT_EQ(name_of_ranks(many), "ranks 0, 8, 16, 24, ..., 792 (100 of them)");
}

}  // namespace
}  // namespace titan::distributed
