// titan verify on Qwen 3: heads that are normalised each by itself, wider together than the model. Under tensor
// parallelism the gradients of q_norm and k_norm are terms on each rank. The debug flavour as it is takes minutes, so
// only with TITAN_TEST_ALL=1.
#include <gtest/gtest.h>

#include "tests/support/run_program.h"
#include "tests/support/runs_all.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

void expect_holds(std::vector<std::string> argv, const std::string& layouts, const std::string& verdict) {
  argv[1] = "verify";
  argv.insert(argv.end(), {"--training.local_batch_size=4", "--layouts", layouts});
  const test::Finished finished = test::run_program(argv, {.timeout_seconds = 1200});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_NE(finished.out.find(verdict), std::string::npos) << finished.out;
}

TEST(VerifyQwen3, LayoutsOfATinyModelHold) {
  const test::OutputFolder folder;
  expect_holds(test::tiny_qwen3_job(TITAN_BINARY, folder.path(), {"--steps", "4"}),
               "dp_shard=2; tp=2; dp_shard=2, tp=2; tp=2, dtype=bf16; pp=2, dp_shard=2", "verdict: all 5 layouts hold");
}

// Weights of its own for the output, 6 KV heads over 3 ranks, a vocabulary of 323 that they share unevenly.
TEST(VerifyQwen3, MoreLayoutsHold) {
  if (!test::runs_all()) GTEST_SKIP() << "runs with --all";
  const test::OutputFolder folder;
  const std::string layouts =
      "tp=3; tp=3, sp=off; tp=3, loss_parallel=off; tp=3, async_tp=on; tp=3, accum=2; dp_shard=2, tp=3; "
      "dp_replicate=2, tp=3; dp_replicate=2, dp_shard=2; dp_shard=2, dtype=bf16; dp_shard=2, tp=3, dtype=bf16";
  for (const char* tied : {"--model.args.enable_weight_tying", "--model.args.no-enable_weight_tying"}) {
    expect_holds(test::tiny_qwen3_job(TITAN_BINARY, folder.path(),
                                      {"--steps", "3", "--model.args.n_kv_heads=6", "--model.args.hidden_dim=45",
                                       "--model.args.vocab_size=323", tied}),
                 layouts, "verdict: all 10 layouts hold");
  }
}

// Shorter sequences cut the chunks of the loss so small that the matrix products of half a batch round otherwise than
// those of a whole one, which a norm's gradient, a sum over all heads and tokens, magnifies.
TEST(VerifyQwen3, LayoutsOfTheDebugFlavorHold) {
  if (!test::runs_all()) GTEST_SKIP() << "runs with --all";
  const test::OutputFolder folder;
  const std::vector<std::string> job{TITAN_BINARY,
                                     "train",
                                     std::string("--job.config_file=") + TITAN_SOURCE_DIR + "/configs/qwen3/debug.toml",
                                     "--job.dump_folder=" + folder.path().string(),
                                     "--training.seq_len=128",
                                     "--steps",
                                     "2"};
  expect_holds(job, "dp_shard=2; tp=2; dp_shard=2, tp=2; tp=4; tp=2, sp=off; dp_shard=2, dtype=bf16",
               "verdict: all 6 layouts hold");
}

}  // namespace
}  // namespace titan
