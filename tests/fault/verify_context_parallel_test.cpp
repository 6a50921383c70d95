// titan verify over all that context parallelism can be, alone and beside the other techniques, with rows of one
// document, of several, and with a window: minutes, so only with TITAN_TEST_ALL=1. verify_test.cpp has a few that
// always run.
#include <gtest/gtest.h>

#include "tests/support/run_program.h"
#include "tests/support/runs_all.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

// Degrees, and what the attention sees.
class VerifyContextParallel : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

// 6 heads in 2 groups; rows of 48 tokens.
TEST_P(VerifyContextParallel, Holds) {
  if (!test::runs_all()) GTEST_SKIP() << "runs with --all";
  const auto& [degrees, mask] = GetParam();
  std::string layouts;
  for (const std::string kind :
       {"", ", rotate=alltoall", ", balance=off", ", rotate=alltoall, balance=off", ", accum=2, ac=op", ", ac=full",
        ", ac=memory_budget, accum=2", ", rotate=alltoall, ac=2", ", dtype=bf16", ", rotate=alltoall, dtype=bf16"}) {
    layouts.append(layouts.empty() ? "" : "; ").append(degrees).append(kind);
  }
  const test::OutputFolder folder;
  std::vector<std::string> argv = test::tiny_job(
      TITAN_BINARY, folder.path(),
      {"--training.local_batch_size=8", "--model.args.n_heads=6", "--model.args.n_kv_heads=2", "--steps", "3",
       "--training.dataset_path=" + (test::tiny_golden().parent_path() / "llama3_documents" / "corpus").string(),
       "--layouts", layouts});
  if (!mask.empty()) argv.push_back(mask);
  argv[1] = "verify";
  const test::Finished finished = test::run_program(argv, {.timeout_seconds = 600});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_NE(finished.out.find("verdict: all 10 layouts hold"), std::string::npos) << finished.out;
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, VerifyContextParallel,
    testing::Combine(testing::Values("cp=2", "cp=4", "dp_shard=2, cp=2", "dp_replicate=2, cp=2", "cp=2, tp=2",
                                     "dp_replicate=2, dp_shard=2, cp=2", "dp_shard=2, cp=2, tp=2"),
                     testing::Values("", "--model.args.attn_mask_type=block_causal", "--model.args.sliding_window=9")));

}  // namespace
}  // namespace titan
