// Real ranks under the launcher: a tiny job whose ranks are killed, stopped, or run into an exception, at a random
// moment. The job ends in time, the right rank is named, nothing is left.
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <random>
#include <regex>

#include "tests/support/launched_ranks.h"
#include "tests/support/run_program.h"
#include "tests/support/runs_all.h"
#include "tests/support/tiny_job.h"
#include "titan/launch/launch.h"

namespace titan::launch {
namespace {

using test::Clock;
using test::LaunchedRanks;
using test::OutputFolder;

constexpr int64_t kNumRanks = 3;
constexpr std::chrono::seconds kTrainTimeout{2};

// `titan launch` with the tiny job behind it.
test::Finished launch_tiny_job(const OutputFolder& folder, std::vector<std::string> flags,
                               const test::RunOptions& options = {}) {
  flags.insert(flags.begin(), {"--training.local_batch_size=1"});
  std::vector<std::string> argv = test::tiny_job(TITAN_BINARY, folder.path(), flags);
  argv.insert(argv.begin() + 1, {"launch", "--nproc-per-node", "2", "--"});
  return test::run_program(argv, options);
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(LaunchedTraining, ShowsEachStepOnce) {
  const OutputFolder folder;
  const test::Finished finished = launch_tiny_job(folder, {});
  ASSERT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_EQ(count_of(finished.out, " - step: "), 10u) << finished.out;
  EXPECT_EQ(count_of(finished.out, "[rank0]:[rank0]"), 0u);
  EXPECT_EQ(count_of(finished.out, "[rank1]"), 0u);
  EXPECT_EQ(finished.err, "");
}

TEST(LaunchedTraining, FinishesItsStepAndSavesWhenAskedToStop) {
  const OutputFolder folder;
  const test::Finished finished = launch_tiny_job(folder, {"--training.steps=100000", "--checkpoint.enable"},
                                                  {.signal = test::SignalOnOutput{SIGTERM, "step:  2"}});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  const auto steps = test::logged_steps(folder.path());
  ASSERT_FALSE(steps.empty());
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "checkpoint" / ("step-" + std::to_string(steps.back().step))));
}

// A mistake is every rank's; it is found before any of them starts.
TEST(LaunchedTraining, AMistakeInTheConfigurationIsShownOnce) {
  const OutputFolder folder;
  const test::Finished finished = launch_tiny_job(folder, {"--training.steps=ten"}, {.timeout_seconds = 20});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_EQ(test::lines_of(finished.err).size(), 1u) << finished.err;
  EXPECT_EQ(finished.err.find("training.steps: "), 0u) << finished.err;
}

// A corpus for each rank: that of `broken_rank`, if there is one, has a line that is not JSON after `num_good`.
void write_corpora(const std::filesystem::path& folder, int64_t broken_rank, int num_good) {
  for (int64_t rank = 0; rank < kNumRanks; ++rank) {
    std::filesystem::create_directories(folder / std::to_string(rank));
    std::ofstream file(folder / std::to_string(rank) / "corpus.json");
    for (int i = 0; i < 400; ++i) {
      if (rank == broken_rank && i == num_good) file << "{\"text\": oh dear\n";
      file << "{\"text\": \"One line like any other, of number " << i << ", to have something to read.\"}\n";
    }
  }
}

enum class Fault { kKill, kStop, kException };

void break_a_rank(const std::string& backend, Fault fault, int64_t victim, int moment) {
  const OutputFolder folder;
  write_corpora(folder.path() / "data", fault == Fault::kException ? victim : -1, 100 + 7 * moment);
  const std::vector<std::string> job = test::tiny_job(
      TITAN_BINARY, folder.path(),
      {"--training.steps=1000000", "--training.local_batch_size=1", "--comm.init_timeout_seconds=30",
       "--comm.cpu_backend=" + backend, "--comm.train_timeout_seconds=" + std::to_string(kTrainTimeout.count())});
  LaunchOptions options;
  options.nproc_per_node = kNumRanks;
  options.command = {"/bin/sh", "-c",
                     "echo pid $RANK $$; exec \"$0\" \"$@\" --training.dataset_path='" +
                         (folder.path() / "data").string() + "'/$RANK"};
  options.command.insert(options.command.end(), job.begin(), job.end());
  options.shown_local_ranks.reset();
  LaunchedRanks ranks(options);

  const std::string name = "rank " + std::to_string(victim);
  auto start = Clock::now();
  if (fault != Fault::kException) {
    ASSERT_TRUE(ranks.wait_for("pid", kNumRanks)) << ranks.err();
    // Moments before the first step, too.
    ASSERT_TRUE(ranks.wait_for(moment < 3 ? "Starting job" : " - step: ", static_cast<size_t>(1 + moment)))
        << ranks.out() << ranks.err();
    start = Clock::now();
    kill(ranks.pids().at(std::to_string(victim)), fault == Fault::kKill ? SIGKILL : SIGSTOP);
  }
  const int exit_code = ranks.finish();
  const auto took = Clock::now() - start;
  EXPECT_GE(exit_code, 1);
  EXPECT_LE(exit_code, 123);
  const std::string all = ranks.out() + ranks.err();
  if (fault == Fault::kKill) {
    EXPECT_TRUE(
        std::regex_search(ranks.err(), std::regex("titan launch: " + name + " failed( first)?: killed by SIGKILL")))
        << all;
    EXPECT_LT(took, std::chrono::seconds(10));
  } else if (fault == Fault::kStop) {
    EXPECT_NE(ranks.err().find("titan launch: " + name + " stood still, stopped by SIGSTOP"), std::string::npos) << all;
    EXPECT_LT(took, (moment < 3 ? std::chrono::seconds(30) : kTrainTimeout) + std::chrono::seconds(20));
  } else {
    EXPECT_TRUE(
        std::regex_search(ranks.err(), std::regex("titan launch: " + name + " failed( first)?: exit code 1: .*corpus")))
        << all;
  }
  const auto pids = ranks.pids();
  EXPECT_EQ(pids.size(), static_cast<size_t>(kNumRanks));
  for (const auto& [rank, pid] : pids) EXPECT_TRUE(test::goes_away(pid)) << "rank " << rank << " is left";
}

class LaunchedTraining : public testing::TestWithParam<std::string> {};

// Thirty in a row; five unless ./run_tests.sh --all asks for all there is.
TEST_P(LaunchedTraining, EndsInTimeAndNamesTheRankWhateverHappensToIt) {
  const std::string& backend = GetParam();
  const int num_rounds = test::runs_all() ? 30 : 5;
  std::mt19937 random(backend == "shm" ? 20260102 : 20260103);
  const auto draw = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  for (int round = 0; round < num_rounds; ++round) {
    const int64_t victim = draw(kNumRanks);
    const auto fault = static_cast<Fault>(draw(3));
    // Stopping a rank before the first step costs comm.init_timeout_seconds.
    const int moment = fault == Fault::kStop ? 3 + draw(20) : draw(20);
    SCOPED_TRACE("round " + std::to_string(round) + ": rank " + std::to_string(victim) + ", fault " +
                 std::to_string(static_cast<int>(fault)) + ", moment " + std::to_string(moment));
    break_a_rank(backend, fault, victim, moment);
    if (testing::Test::HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, LaunchedTraining, testing::Values("shm", "gloo"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace titan::launch
