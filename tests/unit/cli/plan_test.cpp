// `titan plan --schedule` as a user meets it.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/run_program.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

using test::Finished;

Finished plan(std::vector<std::string> flags) {
  flags.insert(flags.begin(), {TITAN_BINARY, "plan"});
  return test::run_program(flags);
}

TEST(Plan, IsNotAvailableYetWithoutASchedule) {
  for (const std::vector<std::string>& flags : std::vector<std::vector<std::string>>{{}, {"--job.config_file", "x"}}) {
    const Finished finished = plan(flags);
    EXPECT_EQ(finished.exit_code, 2);
    EXPECT_EQ(finished.err, "titan plan: not available yet without --schedule\n");
    EXPECT_EQ(finished.out, "");
  }
}

TEST(Plan, SimulatesAScheduleByName) {
  const Finished finished =
      plan({"--schedule", "zbvzerobubble", "--pp=2", "--microbatches", "4", "--costs", "1,1,1,0"});
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_TRUE(
      finished.out.starts_with("ZBVZeroBubble: 2 ranks, 4 stages, 4 microbatches; F 1, I 1, W 1, COMM 0; idle 4.0%\n"
                               "total 25\n"))
      << finished.out;
}

TEST(Plan, WhatItWritesItReads) {
  const test::OutputFolder folder;
  const std::string file = folder.path() / "schedule.csv";
  const Finished written =
      plan({"--schedule=Interleaved1F1B", "--pp=2", "--stages=6", "--microbatches=4", "--format=pytorch"});
  ASSERT_EQ(written.exit_code, 0) << written.err;
  std::ofstream(file) << written.out;

  const Finished read =
      plan({"--schedule", file, "--format", "pytorch", "--pp", "2", "--stages", "6", "--microbatches", "4"});
  EXPECT_EQ(read.out, written.out) << read.err;
  const Finished by_name =
      plan({"--schedule=Interleaved1F1B", "--pp=2", "--stages=6", "--microbatches=4", "--format=csv"});
  EXPECT_EQ(plan({"--schedule", file, "--format", "csv"}).out, by_name.out);
  EXPECT_EQ(plan({"--schedule", file, "--pp", "3"}).err, "--pp: " + file + " has 2, got 3\n");
}

struct Mistake {
  const char* name;
  std::vector<std::string> flags;
  const char* expected;  // how stderr begins
};

class PlanMistake : public testing::TestWithParam<Mistake> {};

TEST_P(PlanMistake, IsOneLine) {
  const Finished finished = plan(GetParam().flags);
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_TRUE(finished.err.starts_with(GetParam().expected)) << finished.err;
  EXPECT_EQ(finished.err.find('\n'), finished.err.size() - 1) << finished.err;
  EXPECT_EQ(finished.out, "");
}

INSTANTIATE_TEST_SUITE_P(
    All, PlanMistake,
    testing::Values(
        Mistake{"UnknownName",
                {"--schedule=Interleaved1FB", "--pp=2", "--microbatches=2"},
                "schedule: there is none named \"Interleaved1FB\"; did you mean Interleaved1F1B?"},
        Mistake{"TooFewMicrobatches",
                {"--schedule=1F1B", "--pp=4", "--microbatches=2"},
                "schedule 1F1B: needs at least as many microbatches as stages (4), got 2"},
        Mistake{
            "StagesNoMultiple",
            {"--schedule=GPipe", "--pp=4", "--microbatches=8", "--stages=6"},
            "schedule GPipe: the number of stages must be a multiple of the number of ranks (4), got 6; use 4 stages"},
        Mistake{"NoRanks", {"--schedule=GPipe", "--microbatches=8"}, "--pp: needed with a schedule's name"},
        Mistake{"NegativeRanks",
                {"--schedule=GPipe", "--pp", "-1", "--microbatches=8"},
                "--pp: expected 1 to 100000, got -1"},
        Mistake{"ThreeCosts",
                {"--schedule=GPipe", "--pp=2", "--microbatches=2", "--costs=1,1,1"},
                "--costs: expected four numbers F,I,W,COMM such as 1,1,1,0.1, by commas, got \"1,1,1\""},
        Mistake{
            "CostsAfterTheLast", {"--schedule=GPipe", "--pp=2", "--microbatches=2", "--costs=1,1,1,0,"}, "--costs: "},
        Mistake{"NegativeCost", {"--schedule=GPipe", "--pp=2", "--microbatches=2", "--costs=1,1,-1,0"}, "--costs: "},
        Mistake{
            "CostThatIsNoNumber", {"--schedule=GPipe", "--pp=2", "--microbatches=2", "--costs=1,nan,1,0"}, "--costs: "},
        Mistake{"UnknownFormat",
                {"--schedule=GPipe", "--pp=2", "--microbatches=2", "--format=png"},
                "--format: png not in"},
        Mistake{"UnknownFlag",
                {"--schedule=GPipe", "--pp=2", "--microbatches=2", "--training.steps=3"},
                "--training.steps=3: not a flag of a schedule's plan"},
        Mistake{"TooMuch",
                {"--schedule=GPipe", "--pp=100000", "--microbatches=100000"},
                "--stages: stages x microbatches must be at most 5000000, got 100000 x 100000"},
        Mistake{"NoFile", {"--schedule=/nowhere/s.csv"}, "/nowhere/s.csv: cannot be read"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace titan
