#include "titan/trace/history.h"

#include <gtest/gtest.h>

namespace titan::trace {
namespace {

Stream repeated(const Stream& step, int times) {
  Stream stream;
  for (int i = 0; i < times; ++i) stream.insert(stream.end(), step.begin(), step.end());
  return stream;
}

TEST(ExpectedNext, IsWhatFollowedTheLongestEqualPast) {
  EXPECT_EQ(expected_next(Stream{}), std::nullopt);
  EXPECT_EQ(expected_next(Stream{1, 2, 3}), std::nullopt);
  EXPECT_EQ(expected_next(Stream{1, 1}), 1);
  // After 1, 2 came 3 in the beginning; after 5, 1, 2 came 4.
  EXPECT_EQ(expected_next(Stream{1, 2, 3, 5, 1, 2, 4, 9, 5, 1, 2}), 4);
  EXPECT_EQ(expected_next(repeated({1, 2, 1, 3}, 5)), 1);
}

TEST(LastDeparture, IsWhereAStepDiffersFromTheOnesBefore) {
  EXPECT_EQ(last_departure({}), std::nullopt);
  EXPECT_EQ(last_departure(repeated({1, 2, 3, 4, 5}, 6)), std::nullopt);
  Stream one_left_out = repeated({1, 2, 3, 4, 5}, 6);
  one_left_out.erase(one_left_out.begin() + 22);  // the 3 of the fifth step
  EXPECT_EQ(last_departure(one_left_out), (Departure{22, 3}));
  Stream swapped = repeated({1, 2, 3, 4, 5}, 6);
  std::swap(swapped[28], swapped[29]);
  EXPECT_EQ(last_departure(swapped), (Departure{28, 4}));
}

}  // namespace
}  // namespace titan::trace
