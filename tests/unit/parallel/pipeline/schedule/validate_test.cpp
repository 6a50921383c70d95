// Every schedule over every small shape that it is defined for runs to its end, lowered too. What a schedule that is
// not valid is told stands in csv_test.cpp.
#include "titan/parallel/pipeline/schedule/validate.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/parallel/pipeline/schedule/shapes.h"
#include "titan/parallel/pipeline/schedule/lower.h"
#include "titan/parallel/pipeline/schedule/registry.h"

namespace titan::pipeline {
namespace {

class EverySchedule : public testing::TestWithParam<std::string_view> {};

TEST_P(EverySchedule, IsValidAtEveryShape) {
  for (const PipelineShape& shape : shapes_of(find_schedule(GetParam()))) {
    const std::optional<Fault> fault = find_fault(make_schedule(GetParam(), shape));
    EXPECT_FALSE(fault) << text_of(shape) << ": rank " << fault->rank << ", action " << fault->position << " "
                        << fault->message;
  }
}

TEST_P(EverySchedule, LoweringIsValidAtEveryShape) {
  for (const PipelineShape& shape : shapes_of(find_schedule(GetParam()))) {
    const std::optional<Fault> fault = find_lowering_fault(lower(make_schedule(GetParam(), shape)));
    EXPECT_FALSE(fault) << text_of(shape) << ": rank " << fault->rank << ", action " << fault->position << " "
                        << fault->message;
  }
}

INSTANTIATE_TEST_SUITE_P(All, EverySchedule, testing::ValuesIn(schedule_names()),
                         [](const auto& info) { return std::string(info.param); });

// A lowered schedule with one thing wrong at a time.
TEST(FindLoweringFault, SeesEachKindOfFault) {
  const Schedule good = lower(make_schedule("1F1B", {2, 2, 2}));
  ASSERT_FALSE(find_lowering_fault(good));

  const auto message_without = [&](size_t rank, const char* text) {
    Schedule bad = good;
    EXPECT_EQ(std::erase(bad.ranks[rank], parse_action(text)), 1u) << text;
    const std::optional<Fault> fault = find_lowering_fault(bad);
    return fault ? fault->message : "no fault";
  };
  EXPECT_EQ(message_without(1, "1RECV_F0"), "comes before its input");
  EXPECT_EQ(message_without(0, "0F0"), "comes before what makes it");
  EXPECT_EQ(message_without(0, "0SEND_F0"), "waits for ever for 1RECV_F1");
  EXPECT_EQ(message_without(1, "1UNSHARD"), "the stage is not unsharded");
  EXPECT_EQ(message_without(1, "1RESHARD"), "stage 1 stays unsharded");
  EXPECT_EQ(message_without(0, "0REDUCE_GRAD"), "the gradients of stage 0 are not reduced");
  EXPECT_EQ(message_without(0, "0B1"), "comes before the last backward of the stage");
}

// Both want to receive before they send: fine with buffers, a deadlock where a SEND waits for its RECV.
TEST(FindLoweringFault, SeesMessagesThatWaitForEachOther) {
  Schedule schedule = lower(make_schedule("1F1B", {2, 2, 2}));
  auto& actions = schedule.ranks[0];
  const auto send = std::find(actions.begin(), actions.end(), parse_action("0SEND_F1"));
  const auto recv = std::find(actions.begin(), actions.end(), parse_action("0RECV_B0"));
  ASSERT_TRUE(send != actions.end() && recv != actions.end());
  std::iter_swap(send, recv);
  const std::optional<Fault> fault = find_lowering_fault(schedule);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->message, "waits for ever for 1SEND_B0");
}

}  // namespace
}  // namespace titan::pipeline
