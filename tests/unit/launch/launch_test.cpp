// The launcher as a user meets it, with small shell programs in the ranks' place. What goes wrong is in tests/fault.
#include "titan/launch/launch.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "tests/support/launched_ranks.h"

namespace titan::launch {
namespace {

using test::LaunchedRanks;
using test::lines_of;
using test::stand_ins;

std::multiset<std::string> sorted_lines(const std::string& text) {
  const auto lines = lines_of(text);
  return {lines.begin(), lines.end()};
}

TEST(Launch, EveryRankRunsOnceWithItsEnvironment) {
  LaunchedRanks ranks(stand_ins(3, "echo $LOCAL_RANK/$LOCAL_WORLD_SIZE $WORLD_SIZE $MASTER_ADDR ${MASTER_PORT:+port}"));
  EXPECT_EQ(ranks.finish(), 0);
  EXPECT_EQ(sorted_lines(ranks.out()),
            (std::multiset<std::string>{"[rank0]:0/3 3 127.0.0.1 port", "[rank1]:1/3 3 127.0.0.1 port",
                                        "[rank2]:2/3 3 127.0.0.1 port"}));
  EXPECT_EQ(ranks.err(), "");
}

TEST(Launch, RanksAgreeOnAPort) {
  LaunchedRanks ranks(stand_ins(3, "echo \"[rank$RANK]:$MASTER_PORT\" | cut -d: -f2 | sed s/^/p/"));
  EXPECT_EQ(ranks.finish(), 0);
  std::set<std::string> ports;
  for (const std::string& line : lines_of(ranks.out())) ports.insert(line.substr(line.find(':')));
  EXPECT_EQ(ports.size(), 1u) << ranks.out();
}

TEST(Launch, RanksOfAnotherMachineComeAfterThoseOfTheFirst) {
  LaunchOptions options = stand_ins(2, "echo $RANK $WORLD_SIZE $MASTER_ADDR:$MASTER_PORT");
  options.num_nodes = 3;
  options.node_rank = 2;
  options.master_addr = "node-0";
  options.master_port = 29500;
  LaunchedRanks ranks(options);
  EXPECT_EQ(ranks.finish(), 0);
  EXPECT_EQ(sorted_lines(ranks.out()),
            (std::multiset<std::string>{"[rank4]:4 6 node-0:29500", "[rank5]:5 6 node-0:29500"}));
}

TEST(Launch, StreamsStayApartAndPrefixesComeOnce) {
  LaunchedRanks ranks(stand_ins(2, "echo \"[rank$RANK]:out\"; echo err >&2; printf 'no newline'"));
  EXPECT_EQ(ranks.finish(), 0);
  EXPECT_EQ(sorted_lines(ranks.out()),
            (std::multiset<std::string>{"[rank0]:no newline", "[rank0]:out", "[rank1]:no newline", "[rank1]:out"}));
  EXPECT_EQ(sorted_lines(ranks.err()), (std::multiset<std::string>{"[rank0]:err", "[rank1]:err"}));
}

TEST(Launch, OnlyTheRanksAskedForAreShown) {
  LaunchOptions options = stand_ins(4, "echo out; echo err >&2");
  options.shown_local_ranks = {{1, 3}};
  LaunchedRanks ranks(options);
  EXPECT_EQ(ranks.finish(), 0);
  EXPECT_EQ(sorted_lines(ranks.out()), (std::multiset<std::string>{"[rank1]:out", "[rank3]:out"}));
  EXPECT_EQ(sorted_lines(ranks.err()), (std::multiset<std::string>{"[rank1]:err", "[rank3]:err"}));
}

// Lines that come in pieces, from ranks that write at the same time, more than any pipe holds.
TEST(Launch, LinesNeverMixAndNoneIsLost) {
  constexpr int64_t kLines = 20000;
  LaunchedRanks ranks(
      stand_ins(3,
                "awk -v rank=$RANK 'BEGIN { for (i = 0; i < 20000; i++) { printf \"%d:%d\", rank, i; "
                "if (i % 50 == 0) fflush(); for (j = 0; j < i % 40; j++) printf \"x\"; print \"\" } }'; "
                "printf last"));
  EXPECT_EQ(ranks.finish(), 0);
  std::array<int64_t, 3> next{};
  int64_t num_last = 0;
  for (const std::string& line : lines_of(ranks.out())) {
    const auto rank = static_cast<size_t>(line.at(5) - '0');
    ASSERT_LT(rank, 3u) << line;
    const int64_t i = next[rank]++;
    const std::string start = "[rank" + std::to_string(rank) + "]:";
    if (i == kLines) {
      EXPECT_EQ(line, start + "last");
      ++num_last;
    } else {
      ASSERT_EQ(line,
                start + std::to_string(rank) + ":" + std::to_string(i) + std::string(static_cast<size_t>(i % 40), 'x'));
    }
  }
  EXPECT_EQ(num_last, 3);
}

TEST(Launch, AMegabyteIsOneLine) {
  LaunchedRanks ranks(stand_ins(2, "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo after"));
  EXPECT_EQ(ranks.finish(), 0);
  auto lines = lines_of(ranks.out());
  std::sort(lines.begin(), lines.end());
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], "[rank0]:after");
  EXPECT_EQ(lines[1], "[rank0]:" + std::string(1000000, 'x'));
}

// The ranks' children may keep the pipe; they are not waited for.
TEST(Launch, EndsWithItsRanksNotWithWhatTheyLeave) {
  LaunchedRanks ranks(stand_ins(2, "sleep 1000 & echo pid $RANK $!; setsid sleep 5 & exit 0"));
  const auto start = test::Clock::now();
  EXPECT_EQ(ranks.finish(), 0);
  EXPECT_LT(test::Clock::now() - start, std::chrono::seconds(4));
  const auto pids = ranks.pids();
  ASSERT_EQ(pids.size(), 2u);
  for (const auto& [name, pid] : pids) EXPECT_TRUE(test::goes_away(pid)) << name;
}

TEST(Launch, LogsKeepWhatIsNotShown) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / ("titan_launch_" + std::to_string(getpid()));
  LaunchOptions options = stand_ins(2, "printf 'a\\nb'; echo err >&2");
  options.shown_local_ranks = std::vector<int64_t>{};
  options.log_dir = folder / "logs";
  LaunchedRanks ranks(options);
  EXPECT_EQ(ranks.finish(), 0);
  EXPECT_EQ(ranks.out() + ranks.err(), "");
  for (const char* rank : {"rank0", "rank1"}) {
    std::ifstream out(folder / "logs" / rank / "stdout.log"), err(folder / "logs" / rank / "stderr.log");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(out), {}), "a\nb");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(err), {}), "err\n");
  }
  std::filesystem::remove_all(folder);
}

class PassedOn : public testing::TestWithParam<std::pair<int, std::string>> {};

TEST_P(PassedOn, ReachesEveryRankOnceAndTheyEndInTheirOwnTime) {
  LaunchedRanks ranks(
      stand_ins(3,
                "n=0; trap 'n=$((n+1)); echo INT; stop=5' INT; trap 'echo TERM; stop=5' TERM; echo ready;"
                "while [ -z \"$stop\" ] || [ $stop -gt 0 ]; do sleep 0.05; [ -z \"$stop\" ] || "
                "stop=$((stop-1)); done; echo saved"));
  ASSERT_TRUE(ranks.wait_for("ready", 3)) << ranks.out() << ranks.err();
  ranks.send(GetParam().first);
  EXPECT_EQ(ranks.finish(), 0) << ranks.err();
  std::multiset<std::string> expected;
  for (const char* rank : {"[rank0]:", "[rank1]:", "[rank2]:"}) {
    for (const std::string& text : {std::string("ready"), GetParam().second, std::string("saved")}) {
      expected.insert(rank + text);
    }
  }
  EXPECT_EQ(sorted_lines(ranks.out()), expected);
}
INSTANTIATE_TEST_SUITE_P(Signals, PassedOn,
                         testing::Values(std::pair(SIGINT, "INT"), std::pair(SIGTERM, "TERM"),
                                         std::pair(SIGHUP, "TERM")));

TEST(Launch, ASecondInterruptKills) {
  LaunchedRanks ranks(stand_ins(2, "trap 'echo no' INT; echo pid $RANK $$; while :; do sleep 0.05; done"));
  ASSERT_TRUE(ranks.wait_for("pid", 2));
  ranks.send(SIGINT);
  ASSERT_TRUE(ranks.wait_for("]:no", 2)) << ranks.out();
  ranks.send(SIGINT);
  EXPECT_EQ(ranks.finish(), 1);
  EXPECT_NE(ranks.err().find("the ranks are killed"), std::string::npos) << ranks.err();
  for (const auto& [name, pid] : ranks.pids()) EXPECT_TRUE(test::goes_away(pid)) << name;
}

// Supervisors often send SIGTERM to a process more than once.
TEST(Launch, ASecondSigtermChangesNothing) {
  LaunchedRanks ranks(stand_ins(
      2,
      "trap 'n=x$n; echo TERM $n' TERM; echo ready; while [ -z \"$n\" ]; do sleep 0.05; done; sleep 0.3; echo saved"));
  ASSERT_TRUE(ranks.wait_for("ready", 2));
  ranks.send(SIGTERM);
  ASSERT_TRUE(ranks.wait_for("TERM x", 2));
  ranks.send(SIGTERM);
  EXPECT_EQ(ranks.finish(), 0) << ranks.err();
  EXPECT_EQ(ranks.out().find("TERM xx"), std::string::npos) << ranks.out();
}

// While nobody reads its output the launcher still hears signals; while nobody does anything it sleeps.
TEST(Launch, AReaderThatStandsStillDoesNotKeepSignalsWaiting) {
  LaunchOptions options = stand_ins(2, "echo pid $RANK $$; exec yes");
  options.time_to_fail = std::chrono::milliseconds(100);
  LaunchedRanks ranks(options);
  ASSERT_TRUE(ranks.wait_for("pid", 2));
  poll(nullptr, 0, 200);  // nobody reads: the pipes fill up
  const auto pids = ranks.pids();
  kill(pids.at("0"), SIGKILL);
  EXPECT_TRUE(test::goes_away(pids.at("1")));  // rank 1 is ended although rank 0's failure cannot be shown yet
  EXPECT_EQ(ranks.finish(), 1);
  EXPECT_NE(ranks.err().find("rank 0 failed"), std::string::npos) << ranks.err();
}

TEST(Launch, WhileNothingHappensItUsesNoTime) {
  rusage before{}, after{};
  getrusage(RUSAGE_CHILDREN, &before);
  LaunchedRanks ranks(stand_ins(2, "exec sleep 1"));
  EXPECT_EQ(ranks.finish(), 0);
  getrusage(RUSAGE_CHILDREN, &after);
  const auto milliseconds = [](const rusage& usage) {
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
  };
  EXPECT_LT(milliseconds(after) - milliseconds(before), 500);
}

TEST(Launch, AClosedStdoutEndsTheJob) {
  LaunchedRanks ranks(stand_ins(2, "echo pid $RANK $$; while :; do echo more; sleep 0.02; done"));
  ASSERT_TRUE(ranks.wait_for("pid", 2));
  const auto pids = ranks.pids();
  ranks.close_stdout();
  EXPECT_EQ(ranks.finish(), 1);
  EXPECT_NE(ranks.err().find("cannot write to stdout: Broken pipe"), std::string::npos) << ranks.err();
  for (const auto& [name, pid] : pids) EXPECT_TRUE(test::goes_away(pid)) << name;
}

TEST(Launch, AProgramThatCannotBeStartedIsAnError) {
  LaunchOptions options = stand_ins(2, "");
  options.command = {"/nowhere/titan"};
  LaunchedRanks ranks(options);
  EXPECT_EQ(ranks.finish(), 125);  // an exception
  EXPECT_NE(ranks.err().find("cannot start /nowhere/titan"), std::string::npos);
}

TEST(Launch, OptionsThatCannotBeAreRefusedByName) {
  const auto refused = [](const LaunchOptions& options) -> std::string {
    try {
      launch_ranks(options);
    } catch (const c10::ValueError& error) {
      return error.what_without_backtrace();
    }
    return "accepted";
  };
  LaunchOptions options = stand_ins(2, "");
  options.nproc_per_node = 0;
  EXPECT_EQ(refused(options), "--nproc-per-node: expected 1 to 1024 ranks, got 0");
  options = stand_ins(2, "");
  options.num_nodes = 2;
  EXPECT_EQ(refused(options).find("--rdzv-endpoint: needed with --nnodes 2"), 0u);
  options.master_port = 29500;
  options.node_rank = 2;
  EXPECT_EQ(refused(options), "--node-rank: expected 0 to 1 (--nnodes 2), got 2");
}

TEST(Launch, OwnProgramIsThisOne) { EXPECT_EQ(own_program(), std::filesystem::canonical("/proc/self/exe").string()); }

}  // namespace
}  // namespace titan::launch
