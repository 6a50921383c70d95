// Ranks that fail, hang, stop or vanish under the launcher, with small shell programs in their place: the job ends in
// time, the right rank is named, and nothing is left.
#include "titan/launch/launch.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <random>

#include "tests/support/launched_ranks.h"

namespace titan::launch {
namespace {

using test::Clock;
using test::LaunchedRanks;
using test::lines_of;
using test::stand_ins;

constexpr const char* kWait = "echo pid $RANK $$; while :; do sleep 0.05; done";

LaunchOptions hurried(LaunchOptions options) {
  options.time_to_fail = std::chrono::milliseconds(100);
  options.time_to_terminate = std::chrono::milliseconds(300);
  return options;
}

void expect_all_gone(const LaunchedRanks& ranks, size_t count) {
  const auto pids = ranks.pids();
  EXPECT_EQ(pids.size(), count) << ranks.out();
  for (const auto& [name, pid] : pids) EXPECT_TRUE(test::goes_away(pid)) << name << " " << pid << " is left";
}

bool has_line(const std::string& text, const std::string& line) {
  const auto lines = lines_of(text);
  return std::find(lines.begin(), lines.end(), line) != lines.end();
}

TEST(LaunchFault, AFailingRankEndsTheOthersAndGivesItsCode) {
  LaunchedRanks ranks(hurried(stand_ins(3,
                                        "echo pid $RANK $$; [ $RANK = 1 ] && { echo 'noise'; echo 'titan train: it "
                                        "broke' >&2; exit 42; }; exec sleep 1000")));
  EXPECT_EQ(ranks.finish(), 42);
  EXPECT_TRUE(has_line(ranks.err(), "titan launch: rank 1 failed: exit code 42: titan train: it broke")) << ranks.err();
  EXPECT_TRUE(has_line(ranks.err(), "titan launch: ended ranks 0, 2")) << ranks.err();
  expect_all_gone(ranks, 3);
}

TEST(LaunchFault, ARankKilledByASignalIsNamedAndTheCodeIs1) {
  LaunchedRanks ranks(hurried(stand_ins(2, kWait)));
  ASSERT_TRUE(ranks.wait_for("pid", 2));
  kill(ranks.pids().at("1"), SIGSEGV);
  EXPECT_EQ(ranks.finish(), 1);
  EXPECT_TRUE(has_line(ranks.err(), "titan launch: rank 1 failed: killed by SIGSEGV, without an error message"))
      << ranks.err();
  expect_all_gone(ranks, 2);
}

TEST(LaunchFault, ErrorsOfHiddenRanksAreShownWhenTheyFail) {
  LaunchOptions options = stand_ins(
      3, "echo hidden; echo warning of $RANK >&2; [ $RANK = 2 ] && { echo 'it broke' >&2; exit 3; }; exec sleep 1000");
  options.shown_local_ranks = {{0}};
  LaunchedRanks ranks(hurried(options));
  EXPECT_EQ(ranks.finish(), 3);
  EXPECT_EQ(ranks.out(), "[rank0]:hidden\n");
  EXPECT_TRUE(has_line(ranks.err(), "[rank2]:it broke")) << ranks.err();
  EXPECT_EQ(ranks.err().find("warning of 1"), std::string::npos) << ranks.err();
}

// A mistake in the configuration is every rank's.
TEST(LaunchFault, WhatAllRanksSayIsSaidOnce) {
  LaunchOptions options = stand_ins(4, "echo 'training.steps: expected a number' >&2; exit 1");
  options.shown_local_ranks = {{0}};
  LaunchedRanks ranks(options);
  EXPECT_EQ(ranks.finish(), 1);
  EXPECT_EQ(lines_of(ranks.err()).size(), 2u) << ranks.err();
  EXPECT_TRUE(has_line(ranks.err(), "[rank0]:training.steps: expected a number")) << ranks.err();
  EXPECT_TRUE(
      has_line(ranks.err(), "titan launch: ranks 0, 1, 2, 3 failed: exit code 1: training.steps: expected a number"))
      << ranks.err();
}

// With the times that users get. Ranks and their children that ignore SIGTERM.
TEST(LaunchFault, AllIsOverWithinTenSecondsWhateverTheRanksIgnore) {
  LaunchedRanks ranks(
      stand_ins(3,
                "trap '' TERM; (trap '' TERM; exec sleep 1000) & echo pid child$RANK $!; echo pid $RANK $$; "
                "[ $RANK = 0 ] && exit 5; while :; do sleep 1; done"));
  const auto start = Clock::now();
  EXPECT_EQ(ranks.finish(), 5);
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(10));
  EXPECT_TRUE(has_line(ranks.err(), "titan launch: ended ranks 1, 2")) << ranks.err();
  expect_all_gone(ranks, 6);
}

TEST(LaunchFault, RanksThatFailInItsWakeAreNamedAfterIt) {
  LaunchedRanks ranks(
      stand_ins(3,
                "trap 'echo \"Connection closed by peer\" >&2; exit 9' USR1; echo pid $RANK $$; while :; "
                "do sleep 0.02; done"));
  ASSERT_TRUE(ranks.wait_for("pid", 3));
  const auto pids = ranks.pids();
  kill(pids.at("0"), SIGUSR1);  // sees the connection break before the launcher sees the cause
  ASSERT_TRUE(ranks.wait_for("Connection closed", 1));
  kill(pids.at("2"), SIGKILL);
  kill(pids.at("1"), SIGUSR1);
  EXPECT_EQ(ranks.finish(), 1);
  EXPECT_TRUE(has_line(ranks.err(), "titan launch: rank 2 failed first: killed by SIGKILL, without an error message"))
      << ranks.err();
  EXPECT_TRUE(has_line(ranks.err(), "titan launch: ranks 0, 1 failed: exit code 9: Connection closed by peer"))
      << ranks.err();
}

TEST(LaunchFault, AStoppedRankIsNamedAsTheCauseWhenTheOthersTimeOut) {
  LaunchedRanks ranks(hurried(
      stand_ins(3, "trap 'echo \"Timed out\" >&2; exit 9' USR1; echo pid $RANK $$; while :; do sleep 0.02; done")));
  ASSERT_TRUE(ranks.wait_for("pid", 3));
  const auto pids = ranks.pids();
  kill(pids.at("1"), SIGSTOP);
  ASSERT_TRUE(ranks.wait_for("rank 1 stands still, stopped by SIGSTOP")) << ranks.err();
  for (const char* rank : {"0", "2"}) kill(pids.at(rank), SIGUSR1);
  EXPECT_EQ(ranks.finish(), 9);
  EXPECT_TRUE(has_line(ranks.err(),
                       "titan launch: rank 1 stood still, stopped by SIGSTOP: the likely cause, the others "
                       "waited for it"))
      << ranks.err();
  expect_all_gone(ranks, 3);
}

TEST(LaunchFault, ARankThatWasStoppedForAWhileIsNoFailure) {
  LaunchedRanks ranks(stand_ins(2, "trap 'exit 0' USR1; echo pid $RANK $$; while :; do sleep 0.02; done"));
  ASSERT_TRUE(ranks.wait_for("pid", 2));
  const auto pids = ranks.pids();
  kill(pids.at("1"), SIGSTOP);
  ASSERT_TRUE(ranks.wait_for("rank 1 stands still"));
  kill(pids.at("1"), SIGCONT);
  ASSERT_TRUE(ranks.wait_for("rank 1 goes on"));
  for (const auto& [rank, pid] : pids) kill(pid, SIGUSR1);
  EXPECT_EQ(ranks.finish(), 0) << ranks.err();
}

// Not even then: ranks die with their parent, and what they started by the warden.
TEST(LaunchFault, AKilledLauncherLeavesNothing) {
  LaunchedRanks ranks(
      stand_ins(3, "sleep 1000 & echo pid child$RANK $!; echo pid $RANK $$; while :; do sleep 1; done"));
  ASSERT_TRUE(ranks.wait_for("pid", 6));
  ranks.send(SIGKILL);
  EXPECT_EQ(ranks.finish(), 128 + SIGKILL);
  expect_all_gone(ranks, 6);
}

// Thirty in a row: a random rank, at a random moment, in a random way.
TEST(LaunchFault, AnyRankAtAnyMomentInAnyWay) {
  std::mt19937 random(20260101);
  const auto draw = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  for (int round = 0; round < 30; ++round) {
    LaunchedRanks ranks(hurried(stand_ins(
        4,
        "trap 'echo boom >&2; exit 17' USR1; trap 'echo \"Timed out\" >&2; exit 9' USR2; sleep 1000 & "
        "echo pid child$RANK $!; echo pid $RANK $$; i=0; while :; do i=$((i+1)); echo step $i; sleep 0.01; done")));
    ASSERT_TRUE(ranks.wait_for("pid", 8));
    const auto pids = ranks.pids();
    const std::string victim = std::to_string(draw(4));
    ASSERT_TRUE(ranks.wait_for("step " + std::to_string(1 + draw(20)), 4)) << "no rank may be waiting for another";
    const int way = draw(4);
    SCOPED_TRACE("round " + std::to_string(round) + ", rank " + victim + ", way " + std::to_string(way));
    const auto start = Clock::now();
    kill(pids.at(victim), std::array{SIGKILL, SIGABRT, SIGUSR1, SIGSTOP}.at(static_cast<size_t>(way)));
    std::string expected;
    int expected_code = 1;
    if (way == 3) {
      ASSERT_TRUE(ranks.wait_for("rank " + victim + " stands still")) << ranks.err();
      for (const auto& [rank, pid] : pids) {
        if (rank.size() == 1 && rank != victim) kill(pid, SIGUSR2);  // as a timeout would
      }
      expected = "titan launch: rank " + victim + " stood still, stopped by SIGSTOP";
      expected_code = 9;
    } else {
      expected = "titan launch: rank " + victim + " failed: " +
                 std::array<std::string, 3>{"killed by SIGKILL", "killed by SIGABRT", "exit code 17: boom"}.at(
                     static_cast<size_t>(way));
      if (way == 2) expected_code = 17;
    }
    EXPECT_EQ(ranks.finish(), expected_code);
    EXPECT_LT(Clock::now() - start, std::chrono::seconds(10));
    EXPECT_NE(ranks.err().find(expected), std::string::npos) << ranks.err();
    expect_all_gone(ranks, 8);
  }
}

}  // namespace
}  // namespace titan::launch
