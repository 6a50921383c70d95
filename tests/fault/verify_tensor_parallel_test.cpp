// titan verify over all that tensor parallelism can be, alone, beside shards, and beside shards and replicas, with and
// without clipping: minutes, so only with TITAN_TEST_ALL=1. verify_test.cpp has a few that always run.
#include <gtest/gtest.h>

#include "tests/support/run_program.h"
#include "tests/support/runs_all.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

// Degrees, and training.max_norm.
class VerifyTensorParallel : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

// 8 heads in 4 groups.
TEST_P(VerifyTensorParallel, Holds) {
  if (!test::runs_all()) GTEST_SKIP() << "runs with --all";
  const auto& [degrees, max_norm] = GetParam();
  std::string layouts;
  for (const std::string kind : {"", ", loss_parallel=off", ", async_tp=on", ", sp=off", ", sp=off, loss_parallel=off",
                                 ", async_tp=on, loss_parallel=off"}) {
    layouts.append(layouts.empty() ? "" : "; ").append(degrees).append(kind).append("; ");
    layouts.append(degrees).append(kind).append(", dtype=bf16");
  }
  const test::OutputFolder folder;
  std::vector<std::string> argv =
      test::tiny_job(TITAN_BINARY, folder.path(),
                     {"--training.local_batch_size=4", "--training.max_norm=" + max_norm, "--model.args.dim=32",
                      "--model.args.n_heads=8", "--model.args.n_kv_heads=4", "--steps", "3", "--layouts", layouts});
  argv[1] = "verify";
  const test::Finished finished = test::run_program(argv, {.timeout_seconds = 600});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_NE(finished.out.find("verdict: all 12 layouts hold"), std::string::npos) << finished.out;
}

INSTANTIATE_TEST_SUITE_P(Layouts, VerifyTensorParallel,
                         testing::Combine(testing::Values("tp=2", "tp=4", "dp_shard=2, tp=2",
                                                          "dp_replicate=2, dp_shard=2, tp=2"),
                                          testing::Values("0.3", "100")));

}  // namespace
}  // namespace titan
