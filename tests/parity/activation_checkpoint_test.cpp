// Every mode of activation checkpointing trains as none does, bit for bit, under each technique. With TITAN_TEST_ALL=1
// over more of both.
#include <gtest/gtest.h>

#include "tests/support/run_program.h"
#include "tests/support/runs_all.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

using Flags = std::vector<std::string>;

struct Technique {
  std::string name;
  int num_ranks;
  Flags flags;
};
void PrintTo(const Technique& technique, std::ostream* out) { *out << technique.name; }

std::vector<test::LoggedStep> train(const Technique& technique, const Flags& ac) {
  const test::OutputFolder folder;
  Flags argv = test::tiny_job(TITAN_BINARY, folder.path(),
                              {"--training.steps=4", "--model.args.n_layers=4", "--model.args.n_heads=6",
                               "--model.args.n_kv_heads=2", "--training.local_batch_size=4"});
  argv.insert(argv.end(), technique.flags.begin(), technique.flags.end());
  argv.insert(argv.end(), ac.begin(), ac.end());
  if (technique.num_ranks > 1) {
    const Flags launch{"launch", "--nproc-per-node", std::to_string(technique.num_ranks), "--"};
    argv.insert(argv.begin() + 1, launch.begin(), launch.end());
  }
  const test::Finished finished = test::run_program(argv, {.timeout_seconds = 120});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  return test::logged_steps(folder.path());
}

std::vector<Flags> modes() {
  const auto mode = [](const std::string& name) { return "--activation_checkpoint.mode=" + name; };
  std::vector<Flags> some{{mode("full")},
                          {mode("selective"), "--activation_checkpoint.selective_ac_option=op"},
                          {mode("memory_budget"), "--activation_checkpoint.memory_budget=0.4"}};
  if (!test::runs_all()) return some;
  some.push_back({mode("full"), "--activation_checkpoint.early_stop", "--activation_checkpoint.debug"});
  some.push_back({mode("selective")});
  some.push_back({mode("selective"), "--activation_checkpoint.selective_ac_option=op",
                  "--activation_checkpoint.per_op_sac_force_recompute_mm_shapes_by_fqns=attention.wk"});
  some.push_back({mode("memory_budget"), "--activation_checkpoint.memory_budget=0"});
  some.push_back({mode("auto")});
  some.push_back({mode("offload")});
  return some;
}

class TrainsTheSame : public testing::TestWithParam<Technique> {};

TEST_P(TrainsTheSame, InEveryMode) {
  const auto expected = train(GetParam(), {"--activation_checkpoint.mode=none"});
  ASSERT_EQ(expected.size(), 4u);
  for (const Flags& ac : modes()) {
    const auto actual = train(GetParam(), ac);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      EXPECT_EQ(actual[i].loss, expected[i].loss) << ac.front() << " step " << i + 1;
      EXPECT_EQ(actual[i].grad_norm, expected[i].grad_norm) << ac.front() << " step " << i + 1;
    }
  }
}

std::vector<Technique> techniques() {
  const std::string bf16 = "--training.mixed_precision_param=bfloat16", chunks = "--training.loss_chunks=3",
                    tied = "--model.args.enable_weight_tying", shard = "--parallelism.data_parallel_shard_degree=",
                    replicate = "--parallelism.data_parallel_replicate_degree=",
                    tensor = "--parallelism.tensor_parallel_degree=";
  std::vector<Technique> some{
      {"one_device_bf16", 1, {bf16, chunks}},
      {"fsdp_bf16_accumulating_tied", 2, {shard + "2", bf16, chunks, tied, "--training.global_batch_size=16"}},
      {"tp", 2, {shard + "1", tensor + "2", chunks}}};
  if (!test::runs_all()) return some;
  some.push_back({"one_device", 1, {}});
  some.push_back({"accumulating_tied", 1, {tied, "--training.global_batch_size=12"}});
  some.push_back({"ddp_bf16", 2, {replicate + "2", shard + "1", bf16}});
  some.push_back({"fsdp", 3, {shard + "3", "--parallelism.fsdp_reshard_after_forward=always"}});
  some.push_back({"fsdp_never_resharded", 2, {shard + "2", "--parallelism.fsdp_reshard_after_forward=never"}});
  some.push_back({"hsdp", 4, {replicate + "2", shard + "2"}});
  some.push_back(
      {"tp_bf16_whole_sequences", 2, {shard + "1", tensor + "2", bf16, "--parallelism.disable_sequence_parallel"}});
  some.push_back({"async_tp", 2, {shard + "1", tensor + "2", "--parallelism.enable_async_tensor_parallel"}});
  some.push_back({"fsdp_tp", 4, {shard + "2", tensor + "2", tied}});
  return some;
}

INSTANTIATE_TEST_SUITE_P(Techniques, TrainsTheSame, testing::ValuesIn(techniques()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace titan
