// `titan launch` as a user meets it: its arguments, and what is wrong with them. Jobs that run are in tests/fault.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/run_program.h"

namespace titan::cli {
namespace {

using Arguments = std::vector<std::string>;

test::Finished launch(Arguments arguments, const test::RunOptions& options = {.timeout_seconds = 20}) {
  arguments.insert(arguments.begin(), {TITAN_BINARY, "launch"});
  return test::run_program(arguments, options);
}

struct Mistake {
  std::string name;
  Arguments arguments;
  std::string expected;  // the line's beginning
};

class LaunchMistake : public testing::TestWithParam<Mistake> {};

TEST_P(LaunchMistake, IsOneLineThatNamesTheFlag) {
  const test::Finished finished = launch(GetParam().arguments);
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_EQ(finished.out, "");
  EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
  EXPECT_EQ(finished.err.find(GetParam().expected), 0u) << finished.err;
}

INSTANTIATE_TEST_SUITE_P(
    All, LaunchMistake,
    testing::Values(
        Mistake{"Nothing", {}, "--nproc-per-node is required"},
        Mistake{"NoRanks", {"--nproc-per-node=0", "--", "train"}, "--nproc-per-node: expected 1 to 1024 ranks, got 0"},
        Mistake{"NegativeRanks", {"--nproc-per-node", "-1", "--", "train"}, "--nproc-per-node: expected 1 to 1024"},
        Mistake{"RanksThatAreNoNumber", {"--nproc-per-node=two", "--", "train"}, "Could not convert: --nproc-per-node"},
        Mistake{"NothingToLaunch", {"--nproc-per-node=2"}, "titan launch: what to launch is missing"},
        Mistake{"NothingBehindTheDashes", {"--nproc-per-node=2", "--"}, "titan launch: what to launch is missing"},
        Mistake{"AnotherVerb",
                {"--nproc-per-node=2", "--", "plan"},
                "titan launch: can launch train and bench, got 'plan'"},
        Mistake{"UnknownFlag", {"--nproc-per-node=2", "--nodes=2", "--", "train"}, "The following argument was not"},
        Mistake{"NoNodeRank",
                {"--nproc-per-node=2", "--nnodes=2", "--rdzv-endpoint=a:1", "--", "train"},
                "--node-rank: needed"},
        Mistake{"NodeRankBeyond",
                {"--nproc-per-node=2", "--nnodes=2", "--node-rank=2", "--rdzv-endpoint=a:1", "--", "train"},
                "--node-rank: expected 0 to 1 (--nnodes 2), got 2"},
        Mistake{"NodeRankWithoutNodes",
                {"--nproc-per-node=2", "--node-rank=1", "--", "train"},
                "--node-rank: 1 needs --nnodes"},
        Mistake{"NoEndpoint",
                {"--nproc-per-node=2", "--nnodes=2", "--node-rank=1", "--", "train"},
                "--rdzv-endpoint: needed"},
        Mistake{"EndpointWithoutPort",
                {"--nproc-per-node=2", "--rdzv-endpoint=host", "--", "train"},
                "--rdzv-endpoint: expected HOST:PORT"},
        Mistake{"EndpointWithoutHost",
                {"--nproc-per-node=2", "--rdzv-endpoint=:29500", "--", "train"},
                "--rdzv-endpoint: expected HOST:PORT"},
        Mistake{"EndpointWithBareIpv6",
                {"--nproc-per-node=2", "--rdzv-endpoint=::1:29500", "--", "train"},
                "--rdzv-endpoint: expected HOST:PORT"},
        Mistake{"PortTooLarge",
                {"--nproc-per-node=2", "--rdzv-endpoint=a:65536", "--", "train"},
                "--rdzv-endpoint: expected a port from 1 to 65535, got 65536"},
        Mistake{"PortZero",
                {"--nproc-per-node=2", "--rdzv-endpoint=a:0", "--", "train"},
                "--rdzv-endpoint: expected a port from 1 to 65535, got 0"},
        Mistake{"FilterThatIsNoList",
                {"--nproc-per-node=2", "--local-ranks-filter=0,", "--", "train"},
                "--local-ranks-filter: expected local ranks"},
        Mistake{"NegativeFilter",
                {"--nproc-per-node=2", "--local-ranks-filter=-1", "--", "train"},
                "--local-ranks-filter: expected local ranks from 0"},
        Mistake{"LogsWhereNoneCanBe",
                {"--nproc-per-node=2", "--log-dir=/proc/nowhere", "--", "train", "--help"},
                "--log-dir: cannot write /proc/nowhere/rank0/stdout.log"}),
    [](const auto& info) { return info.param.name; });

TEST(LaunchVerb, HelpIsPrintedToStdout) {
  const test::Finished finished = launch({"--help"});
  EXPECT_EQ(finished.exit_code, 0);
  for (const char* flag : {"--nproc-per-node", "--nnodes", "--node-rank", "--rdzv-endpoint", "--log-dir", "-- train"}) {
    EXPECT_NE(finished.out.find(flag), std::string::npos) << flag;
  }
}

// Ranks that print their help and end: what is shown says whose output it is.
TEST(LaunchVerb, LogRankChoosesWhoIsShownAndTheFlagWins) {
  const auto shown = [](const Arguments& flags, const std::string& log_rank) {
    Arguments arguments{"--nproc-per-node=3"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    arguments.insert(arguments.end(), {"--", "train", "--help"});
    const test::Finished finished = launch(arguments, {.timeout_seconds = 60, .environment = {{"LOG_RANK", log_rank}}});
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    std::string ranks;
    for (const char rank : {'0', '1', '2'}) {
      if (finished.out.find(std::string("[rank") + rank + "]:") != std::string::npos) ranks += rank;
    }
    return ranks;
  };
  EXPECT_EQ(shown({}, "0"), "0");
  EXPECT_EQ(shown({}, "1,2"), "12");
  EXPECT_EQ(shown({}, "all"), "012");
  EXPECT_EQ(shown({}, ""), "012");
  EXPECT_EQ(shown({"--local-ranks-filter=1"}, "0,2"), "1");
}

TEST(LaunchVerb, RanksThatAreNotThereCannotBeShown) {
  const test::Finished finished = launch({"--nproc-per-node=2", "--local-ranks-filter=1,7", "--", "train", "--help"});
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_EQ(finished.err,
            "titan launch: --local-ranks-filter: this machine has local ranks 0 to 1, so 7 shows nothing\n");
}

}  // namespace
}  // namespace titan::cli
