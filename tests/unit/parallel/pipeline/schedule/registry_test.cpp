#include "titan/parallel/pipeline/schedule/registry.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

namespace titan::pipeline {
namespace {

TEST(ScheduleRegistry, NamesAreFoundInAnyCase) {
  EXPECT_EQ(find_schedule("gpipe").name, "GPipe");
  EXPECT_EQ(find_schedule("ZBVZEROBUBBLE").name, "ZBVZeroBubble");
  EXPECT_EQ(schedule_names().size(), 7u);
}

TEST(PlaceStages, LoopsAndTurns) {
  EXPECT_EQ(place_stages(StagePlacement::kLoop, {3, 6, 1}), (std::vector<int64_t>{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(place_stages(StagePlacement::kV, {3, 6, 1}), (std::vector<int64_t>{0, 1, 2, 2, 1, 0}));
}

struct Mistake {
  const char* test;
  const char* schedule;
  PipelineShape shape;
  const char* expected;
};

class ScheduleMistake : public testing::TestWithParam<Mistake> {};

TEST_P(ScheduleMistake, IsOneLine) {
  try {
    make_schedule(GetParam().schedule, GetParam().shape);
    FAIL() << "accepted";
  } catch (const c10::ValueError& error) {
    EXPECT_EQ(error.msg(), GetParam().expected);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ScheduleMistake,
    testing::Values(
        Mistake{"UnknownName",
                "1f1bb",
                {2, 2, 4},
                "schedule: there is none named \"1f1bb\"; did you mean 1F1B? Known are GPipe, 1F1B, Interleaved1F1B, "
                "LoopedBFS, InterleavedZeroBubble, ZBVZeroBubble, DualPipeV"},
        Mistake{"NoRanks",
                "GPipe",
                {0, 0, 4},
                "schedule GPipe: ranks, stages and microbatches must be at least 1, got 0, 0 and 4"},
        Mistake{"NoMicrobatches",
                "LoopedBFS",
                {2, 4, 0},
                "schedule LoopedBFS: ranks, stages and microbatches must be at least 1, got 2, 4 and 0"},
        Mistake{"StagesNoMultipleOfRanks",
                "Interleaved1F1B",
                {4, 6, 8},
                "schedule Interleaved1F1B: the number of stages must be a multiple of the number of ranks (4), got 6; "
                "use 8 "
                "stages"},
        Mistake{"TwoStagesPerRank",
                "1F1B",
                {2, 4, 8},
                "schedule 1F1B: each rank has 1 stage, so 2 ranks need 2 stages, got 4"},
        Mistake{"OneStagePerRank",
                "ZBVZeroBubble",
                {2, 2, 8},
                "schedule ZBVZeroBubble: each rank has 2 stages, so 2 ranks need 4 stages, got 2"},
        Mistake{"TooFewMicrobatches",
                "1F1B",
                {4, 4, 3},
                "schedule 1F1B: needs at least as many microbatches as stages (4), got 3; use more microbatches, fewer "
                "ranks or another schedule"},
        Mistake{"TooFewMicrobatchesForTheV",
                "DualPipeV",
                {2, 4, 3},
                "schedule DualPipeV: needs at least as many microbatches as stages (4), got 3; use more microbatches, "
                "fewer ranks or another schedule"},
        Mistake{
            "UnequalRounds",
            "InterleavedZeroBubble",
            {2, 4, 5},
            "schedule InterleavedZeroBubble: the number of microbatches must be a multiple of its number of rounds, 2 "
            "(microbatches / ranks, rounded down), got 5; use 4 microbatches"}),
    [](const auto& info) { return info.param.test; });

}  // namespace
}  // namespace titan::pipeline
