// A sequence of 262,144 tokens on four ranks: minutes, so only with TITAN_TEST_ALL=1.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/run_program.h"
#include "tests/support/runs_all.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

// One layer, one head of 16. Every token attends to all before it: 34 billion pairs forward, of which each rank has a
// quarter.
TEST(LongSequence, TrainsTwoStepsOf262144Tokens) {
  if (!test::runs_all()) GTEST_SKIP() << "runs with --all";
  const test::OutputFolder folder;
  std::vector<std::string> argv = test::tiny_job(
      TITAN_BINARY, folder.path(),
      {"--training.seq_len=262144", "--training.local_batch_size=1", "--training.steps=2", "--training.loss_chunks=64",
       "--parallelism.context_parallel_degree=4", "--parallelism.context_parallel_rotate_method=alltoall",
       "--model.args.dim=16", "--model.args.n_layers=1", "--model.args.n_heads=1", "--model.args.n_kv_heads=1",
       "--lr_scheduler.warmup_steps=1", "--comm.train_timeout_seconds=1200", "--comm.init_timeout_seconds=1200"});
  const std::vector<std::string> launch{"launch", "--nproc-per-node", "4", "--"};
  argv.insert(argv.begin() + 1, launch.begin(), launch.end());
  const test::Finished finished = test::run_program(argv, {.timeout_seconds = 3000});
  ASSERT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  const auto steps = test::logged_steps(folder.path());
  ASSERT_EQ(steps.size(), 2u);
  // Random weights guess: log of the vocabulary, 5.8, and some.
  for (const test::LoggedStep& step : steps) {
    EXPECT_GT(step.loss, std::log(320.0) - 0.5);
    EXPECT_LT(step.loss, std::log(320.0) + 1.0);
    EXPECT_GT(step.grad_norm, 0);
  }
  EXPECT_LT(steps[1].loss, steps[0].loss);  // the same documents again
}

}  // namespace
}  // namespace titan
