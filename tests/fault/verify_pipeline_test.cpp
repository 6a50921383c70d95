// titan verify over pipelines: schedules, microbatches and what goes with them. A few always run, chosen so that each
// pair that could be at odds meets once; all combinations with TITAN_TEST_ALL=1.
#include <gtest/gtest.h>

#include "tests/support/run_program.h"
#include "tests/support/runs_all.h"
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

// Two copies of one weight, on two ranks and on one; whole, sharded, and spread over the vocabulary.
TEST(VerifyPipeline, TiedModelsHold) {
  const test::Finished finished =
      verify("pp=2, schedule=ZBVZeroBubble; pp=2, dp_shard=2, microbatches=2; pp=2, tp=2, accum=2",
             {"--model.args.enable_weight_tying", "--training.max_norm=0.3"});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
}

// What takes its measure from memory or moves tensors to and fro sees each stage by itself.
TEST(VerifyPipeline, EveryModeOfActivationCheckpointingHolds) {
  const test::Finished finished =
      verify("pp=2, ac=auto; pp=2, ac=offload, schedule=Interleaved1F1B; pp=2, ac=2, schedule=ZBVZeroBubble");
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
}

TEST(VerifyPipeline, HybridShardsAndTensorParallelHoldOnSixteenRanks) {
  if (!test::runs_all()) GTEST_SKIP() << "runs with --all";
  const test::Finished finished = verify(
      "pp=2, dp_replicate=2, dp_shard=2, tp=2; pp=2, dp_replicate=2, dp_shard=2, tp=2, schedule=InterleavedZeroBubble, "
      "accum=2",
      {"--training.global_batch_size=32"});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
}

struct Kind {
  std::string name;
  int64_t stages_per_rank;
  bool may_have_few_microbatches;  // fewer than stages
};

void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

// pp of 2 and 4, with half as many microbatches as stages, as many, and twice as many, alone and with shards and
// tensor parallelism.
class VerifyPipelineMatrix : public testing::TestWithParam<Kind> {};

TEST_P(VerifyPipelineMatrix, Holds) {
  if (!test::runs_all()) GTEST_SKIP() << "runs with --all";
  const Kind& kind = GetParam();
  std::string layouts;
  int64_t num_layouts = 0;
  for (const int64_t pp : {2, 4}) {
    const int64_t num_stages = pp * kind.stages_per_rank;
    for (const int64_t num_microbatches : {num_stages / 2, num_stages, 2 * num_stages}) {
      if (num_microbatches < num_stages && !kind.may_have_few_microbatches) continue;
      for (const char* beside : {"", ", dp_shard=2", ", tp=2"}) {
        layouts += (layouts.empty() ? "" : "; ") + std::string("schedule=") + kind.name + ", pp=" + std::to_string(pp) +
                   ", microbatches=" + std::to_string(num_microbatches) + beside;
        ++num_layouts;
      }
    }
  }
  const test::Finished finished =
      verify(layouts, {"--model.args.n_layers=6", "--training.seq_len=24", "--training.global_batch_size=32",
                       "--training.local_batch_size=32"});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_NE(finished.out.find("verdict: all " + std::to_string(num_layouts) + " layouts hold"), std::string::npos)
      << finished.out;
}

INSTANTIATE_TEST_SUITE_P(Schedules, VerifyPipelineMatrix,
                         testing::Values(Kind{"GPipe", 1, true}, Kind{"1F1B", 1, false},
                                         Kind{"Interleaved1F1B", 2, true}, Kind{"LoopedBFS", 2, true},
                                         Kind{"InterleavedZeroBubble", 2, true}, Kind{"ZBVZeroBubble", 2, true},
                                         Kind{"DualPipeV", 2, false}),
                         [](const auto& info) { return "S" + info.param.name; });

}  // namespace
}  // namespace titan
