#include "titan/parallel/pipeline/schedule/timeline_format.h"

#include <gtest/gtest.h>

#include "titan/parallel/pipeline/schedule/registry.h"

namespace titan::pipeline {
namespace {

Simulation simulation_of(std::string_view name, const PipelineShape& shape, const ActionCosts& costs = {}) {
  const Schedule schedule = make_schedule(name, shape);
  return {std::string(name), schedule, costs, simulate(schedule, costs)};
}

size_t count(const std::string& text, std::string_view part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(TimelineText, DrawsCellsAsLongAsTheShortestAction) {
  EXPECT_EQ(to_text(simulation_of("1F1B", {2, 2, 2}, {1, 1, 0.5, 0.5})),
            "1F1B: 2 ranks, 2 stages, 2 microbatches; F 1, I 1, W 0.5, COMM 0.5; idle 41.2%\n"
            "total 8.5\n"
            "\n"
            "rank        busy      bubble   idle %  peak activations  stages\n"
            "   0           5         3.5     41.2                 2  0\n"
            "   1           5           0     41.2                 1  1\n"
            "\n"
            "one cell is 0.5; = goes on, . idle\n"
            "rank 0 | 0F0 0F1 . . . . . 0B0== . . 0B1==\n"
            "rank 1 | . . . 1F0 1B0== 1F1 1B1== . . . .\n");
}

TEST(TimelineText, AnOverlapShowsBothParts) {
  EXPECT_NE(to_text(simulation_of("DualPipeV", {2, 4, 4})).find(" 2F2;1B0"), std::string::npos);
}

TEST(TimelineText, LeavesOutWhatIsTooLong) {
  EXPECT_NE(to_text(simulation_of("GPipe", {2, 2, 400})).find("too long for text"), std::string::npos);
  // A weight gradient of no cost has no cell, and is no reason to have none.
  EXPECT_NE(to_text(simulation_of("ZBVZeroBubble", {2, 4, 4}, {1, 1, 0})).find("one cell is 1;"), std::string::npos);
}

TEST(TimelineCsv, HasALineForEachAction) {
  EXPECT_EQ(to_timeline_csv(simulation_of("GPipe", {2, 2, 1}, {1, 0.25, 0.5, 0.125})),
            "rank,action,start,end\n0,0F0,0,1\n0,0B0,3,3.75\n1,1F0,1.125,2.125\n1,1B0,2.125,2.875\n");
}

TEST(TimelineSvg, DrawsEveryPartOnceAndNamesTheKindsThatOccur) {
  const std::string v = to_svg(simulation_of("DualPipeV", {2, 4, 6}));
  EXPECT_EQ(count(v, "<title>"), count(v, "</title>"));
  for (int64_t stage = 0; stage < 4; ++stage) {
    for (int64_t microbatch = 0; microbatch < 6; ++microbatch) {
      EXPECT_EQ(count(v, "<title>" + to_string(F(stage, microbatch)) + "</title>"), 1u);
    }
  }
  for (const char* const kind : {"F forward", "B backward", "I input gradient", "W weight gradient", "pale"}) {
    EXPECT_EQ(count(v, kind), 1u) << kind;
  }
  const std::string plain = to_svg(simulation_of("GPipe", {2, 2, 2}));
  EXPECT_EQ(count(plain, "weight gradient"), 0u);
  EXPECT_EQ(count(plain, "pale"), 0u);
}

TEST(TimelineSvg, NamesOfFilesAreEscaped) {
  Simulation simulation = simulation_of("GPipe", {1, 1, 1});
  simulation.name = "a<b&c.csv";
  EXPECT_EQ(count(to_svg(simulation), "a&lt;b&amp;c.csv"), 1u);
}

}  // namespace
}  // namespace titan::pipeline
