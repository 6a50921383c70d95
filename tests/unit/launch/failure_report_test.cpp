#include "titan/launch/failure_report.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace titan::launch {
namespace {

using Lines = std::vector<std::string>;

RankEnd exited(int64_t rank, int64_t order, int code, std::string error) {
  return {.rank = rank, .order = order, .ending = {.exit_code = code}, .first_error = std::move(error)};
}

RankEnd killed(int64_t rank, int64_t order, int signal) {
  return {.rank = rank, .order = order, .ending = {.signal = signal}};
}

RankEnd told(RankEnd end) {
  end.told_to_end = true;
  return end;
}

TEST(FailureReport, NamesWhoFailedFirstAndWhoFollowed) {
  const std::vector<RankEnd> ends{exited(0, 2, 1, "Connection closed by peer [127.0.0.1]:1"), killed(1, 0, SIGKILL),
                                  exited(2, 1, 4, "disk full"), told(killed(3, 3, SIGTERM))};
  EXPECT_EQ(failure_lines(ends),
            (Lines{"rank 1 failed first: killed by SIGKILL, without an error message",
                   "rank 2 failed: exit code 4: disk full",
                   "rank 0 failed: exit code 1: Connection closed by peer [127.0.0.1]:1", "ended rank 3"}));
  EXPECT_EQ(exit_code_of(ends), 1);
}

// A rank closes its connections while it unwinds, so a neighbour can be gone before it.
TEST(FailureReport, ALostConnectionIsAConsequenceEvenIfItsRankWentFirst) {
  const std::vector<RankEnd> ends{exited(0, 0, 1, "[pair.cc:547] Connection closed by peer"),
                                  exited(1, 1, 7, "titan train: sample 12 is not UTF-8")};
  EXPECT_EQ(failure_lines(ends).front(), "rank 1 failed first: exit code 7: titan train: sample 12 is not UTF-8");
  EXPECT_EQ(exit_code_of(ends), 7);
}

TEST(FailureReport, RanksThatFailAlikeShareALine) {
  const std::vector<RankEnd> ends{exited(0, 1, 1, "training.steps: ten"), exited(1, 0, 1, "training.steps: ten"),
                                  exited(2, 2, 1, "training.steps: ten")};
  EXPECT_EQ(failure_lines(ends), (Lines{"ranks 0, 1, 2 failed: exit code 1: training.steps: ten"}));
}

TEST(FailureReport, ARankThatStoodStillIsNamedBeforeThoseThatWaited) {
  RankEnd still = told(killed(2, 2, SIGKILL));
  still.stopped_by = SIGSTOP;
  const std::vector<RankEnd> ends{exited(0, 0, 1, "Timed out"), told(killed(1, 3, SIGTERM)), still,
                                  exited(3, 1, 1, "Timed out too")};
  EXPECT_EQ(failure_lines(ends), (Lines{"rank 2 stood still, stopped by SIGSTOP: the likely cause, the others waited "
                                        "for it",
                                        "rank 0 failed: exit code 1: Timed out",
                                        "rank 3 failed: exit code 1: Timed out too", "ended rank 1"}));
}

TEST(FailureReport, WhatARankStillSaysWhenToldToEndComesLast) {
  const std::vector<RankEnd> ends{told(exited(0, 0, 3, "rank 1 is missing")), killed(1, 1, SIGSEGV)};
  EXPECT_EQ(failure_lines(ends), (Lines{"rank 1 failed first: killed by SIGSEGV, without an error message",
                                        "rank 0 failed: exit code 3: rank 1 is missing"}));
  EXPECT_EQ(exit_code_of(ends), 1);
}

TEST(FailureReport, ExitCodesFrom1To123AreKeptOthersAre1) {
  for (const auto& [code, expected] : {std::pair(1, 1), {2, 2}, {123, 123}, {124, 1}, {255, 1}}) {
    EXPECT_EQ(exit_code_of({exited(0, 0, code, "")}), expected) << code;
  }
  EXPECT_EQ(exit_code_of({exited(0, 0, 0, "a warning")}), 0);
  EXPECT_TRUE(failure_lines({exited(0, 0, 0, "a warning")}).empty());
}

}  // namespace
}  // namespace titan::launch
