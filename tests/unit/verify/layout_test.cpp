#include "titan/verify/layout.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace titan::verify {
namespace {

bool contains(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

TEST(Layout, SpacesAreIgnoredAndDegreesDefaultToOne) {
  config::Problems problems;
  const auto layouts = parse_layouts(" dp_replicate = 2 ;dp_replicate=4,accum=2; tp=2, pp=2 ;", problems);
  EXPECT_TRUE(problems.empty());
  ASSERT_EQ(layouts.size(), 3u);
  EXPECT_EQ(layouts[0].text, "dp_replicate=2");
  EXPECT_EQ(layouts[0].world_size(), 2);
  EXPECT_EQ(layouts[1].accum, 2);
  EXPECT_EQ(layouts[1].batch_degree(), 4);
  EXPECT_EQ(layouts[2].text, "tp=2, pp=2");
  EXPECT_EQ(layouts[2].world_size(), 4);
  EXPECT_TRUE(layouts[2].splits_operators());
  EXPECT_FALSE(layouts[1].splits_operators());
}

TEST(Layout, EveryNameBecomesItsFlag) {
  config::Problems problems;
  const auto layouts = parse_layouts(
      "dp_shard=2, pp=2, accum=2, microbatches=2, schedule=Interleaved1F1B, ac=2, dtype=bf16, sp=off, "
      "loss_parallel=on, "
      "async_tp=on, cp=2, rotate=alltoall, balance=off",
      problems);
  ASSERT_EQ(layouts.size(), 1u);
  const auto flags = flags_of(layouts[0], 16, problems);
  EXPECT_TRUE(problems.empty());
  for (const char* flag :
       {"--parallelism.data_parallel_shard_degree=2", "--parallelism.data_parallel_replicate_degree=1",
        "--parallelism.pipeline_parallel_degree=2", "--training.global_batch_size=16", "--training.local_batch_size=4",
        "--parallelism.pipeline_parallel_microbatch_size=2", "--parallelism.pipeline_parallel_schedule=Interleaved1F1B",
        "--activation_checkpoint.mode=selective", "--activation_checkpoint.selective_ac_option=2",
        "--training.mixed_precision_param=bfloat16", "--parallelism.disable_sequence_parallel",
        "--parallelism.no-disable_loss_parallel", "--parallelism.enable_async_tensor_parallel",
        "--parallelism.context_parallel_degree=2", "--parallelism.context_parallel_rotate_method=alltoall",
        "--parallelism.context_parallel_load_balancer=None"}) {
    EXPECT_TRUE(contains(flags, flag)) << flag;
  }
}

TEST(Layout, MistakesAreNamed) {
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"", "at least one layout"},
           {"ddp=2", "'ddp': expected one of dp_replicate"},
           {"tp", "tp: expected a number of at least 1, got ''"},
           {"tp=0", "got '0'"},
           {"tp=2x", "got '2x'"},
           {"dtype=fp8", "expected fp32 or bf16"},
           {"sp=yes", "expected on or off"},
           {"rotate=ring", "expected allgather or alltoall"},
           {"ac=some", "expected none, full, op, a number, memory_budget, auto or offload"}}) {
    config::Problems problems;
    parse_layouts(text, problems);
    ASSERT_EQ(problems.lines().size(), 1u) << text;
    EXPECT_NE(problems.lines()[0].find(part), std::string::npos) << problems.lines()[0];
  }
}

TEST(Layout, BatchesThatCannotBeDividedAreNamed) {
  config::Problems problems;
  flags_of(parse_layouts("dp_replicate=3", problems)[0], 8, problems);
  flags_of(parse_layouts("pp=2, microbatches=3", problems)[0], 8, problems);
  EXPECT_EQ(problems.lines().size(), 2u);
}

}  // namespace
}  // namespace titan::verify
