// titan verify over pipelines: schedules, microbatches and what goes with them. A few always run, chosen so that each
// pair that could be at odds meets once; all combinations with TITAN_TEST_ALL=1.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/run_program.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

test::Finished verify(const std::string& layouts, const std::vector<std::string>& more = {}) {
  const test::OutputFolder folder;
  std::vector<std::string> argv =
      test::tiny_job(TITAN_BINARY, folder.path(),
                     {"--training.local_batch_size=4", "--model.args.n_layers=4", "--model.args.n_heads=6",
                      "--model.args.n_kv_heads=2", "--layouts", layouts, "--steps", "2"});
  argv[1] = "verify";
  argv.insert(argv.end(), more.begin(), more.end());
  return test::run_program(argv, {.timeout_seconds = 600});
}

TEST(VerifyPipeline, SchedulesHoldBesideEverythingElse) {
  const test::Finished finished = verify(
      "pp=2, schedule=GPipe, microbatches=1, tp=2; pp=4, ac=full; pp=2, dp_shard=2, schedule=Interleaved1F1B; "
      "pp=2, dp_replicate=2, schedule=LoopedBFS, accum=2, microbatches=1; pp=2, tp=2, schedule=DualPipeV; "
      "pp=2, dp_shard=2, schedule=InterleavedZeroBubble, microbatches=2, ac=op, dtype=bf16; "
      "pp=2, schedule=ZBVZeroBubble, ac=memory_budget");
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_NE(finished.out.find("verdict: all 7 layouts hold"), std::string::npos) << finished.out;
}

// The last stage is norm and output alone.
TEST(VerifyPipeline, ThreeLayersOverFourStagesHold) {
  const test::Finished finished = verify("pp=4; pp=2, schedule=Interleaved1F1B, microbatches=2, ac=1",
                                         {"--model.args.n_layers=3", "--training.loss_chunks=3"});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
}

}  // namespace
}  // namespace titan
