#include "titan/config/availability.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/config/read_text.h"
#include "titan/config/check.h"
#include "titan/config/fields.h"

namespace titan::config {
namespace {

struct Settled {
  JobConfig config;
  std::string problems;
  std::string notes;
};

Settled settle(JobConfig config) {
  Problems problems;
  std::vector<std::string> notes;
  settle_on_available(config, problems, notes);
  return {config, joined(problems.lines()), joined(notes)};
}

Settled settle(std::string_view toml) {
  const ReadText read = from_toml(toml);
  EXPECT_TRUE(read.problems.empty()) << joined(read.problems.lines());
  return settle(read.reading.config);
}

TEST(Availability, DefaultsOfTorchTitanRun) {
  const Settled settled = settle(JobConfig{});
  EXPECT_EQ(settled.problems, "");
  EXPECT_EQ(settled.notes, "");
  EXPECT_EQ(settled.config.activation_checkpoint.mode, "selective");
}

// The keys and values of TorchTitan 0.2.2's debug_model.toml.
TEST(Availability, TorchTitansDebugFileRuns) {
  const Settled settled = settle(R"(
    [job]
    dump_folder = "./outputs"
    print_config = false
    [profiling]
    enable_profiling = false
    save_traces_folder = "profile_trace"
    profile_freq = 10
    enable_memory_snapshot = false
    save_memory_snapshot_folder = "memory_snapshot"
    [metrics]
    log_freq = 1
    enable_wandb = false
    [model]
    name = "llama3"
    flavor = "debugmodel"
    hf_assets_path = "./tests/assets/tokenizer"
    [lr_scheduler]
    warmup_steps = 2
    decay_ratio = 0.8
    [training]
    local_batch_size = 8
    seq_len = 2048
    steps = 10
    dataset = "c4_test"
    [parallelism]
    data_parallel_replicate_degree = 1
    data_parallel_shard_degree = -1
    fsdp_reshard_after_forward = "default"
    tensor_parallel_degree = 1
    enable_async_tensor_parallel = false
    pipeline_parallel_degree = 1
    context_parallel_degree = 1
    [checkpoint]
    enable = false
    interval = 10
    last_save_model_only = false
    async_mode = "disabled"
    [activation_checkpoint]
    mode = "selective"
    selective_ac_option = "2"
    [compile]
    enable = false
    components = ["model", "loss"]
    [quantize.linear.float8]
    enable_fsdp_float8_all_gather = false
    precompute_float8_dynamic_scale_for_fsdp = false
    filter_fqns = ["output"]
    [validation]
    enable = false
    freq = 5
    steps = 10
  )");
  EXPECT_EQ(settled.problems, "");
  EXPECT_EQ(settled.notes, "");
}

TEST(Availability, EveryModeOfActivationCheckpointingIsThere) {
  for (const char* mode : {"none", "full", "selective", "memory_budget", "auto", "offload"}) {
    JobConfig config;
    config.activation_checkpoint.mode = mode;
    const Settled settled = settle(config);
    EXPECT_EQ(settled.problems + settled.notes, "");
    EXPECT_EQ(settled.config.activation_checkpoint.mode, mode);
  }
}

TEST(Availability, WhatChangesNumbersLayoutOrMemoryIsRefusedByName) {
  const auto problems = [&](const std::string& toml) { return settle(toml).problems; };
  EXPECT_EQ(problems("[parallelism]\nexpert_parallel_degree = 2\n"),
            "parallelism.expert_parallel_degree: 2 is not available yet; leave it at 1\n");
  EXPECT_EQ(problems("[optimizer]\nimplementation = 'fused_opt_states_bf16'\n"),
            "optimizer.implementation: \"fused_opt_states_bf16\" is not available yet; use one of for-loop, foreach, "
            "fused\n");
  EXPECT_EQ(problems("[parallelism]\ncontext_parallel_degree = 2\ncontext_parallel_load_balancer = 'ptrr'\n"),
            "parallelism.context_parallel_load_balancer: \"ptrr\" is not available yet; use headtail\n");
  EXPECT_EQ(problems("[parallelism]\ncontext_parallel_degree = 2\ncontext_parallel_load_balancer = 'None'\n"), "");
  for (const char* toml :
       {"[model]\nconverters = ['float8']\n", "[profiling]\nenable_profiling = true\n",
        "[metrics]\nenable_wandb = true\n", "[fault_tolerance]\nenable = true\n", "[comm]\nmode = 'local_tensor'\n",
        "[model]\nname = 'llama4'\n", "[optimizer]\nearly_step_in_backward = true\n"}) {
    EXPECT_NE(problems(toml).find("is not available yet"), std::string::npos) << toml;
  }
}

// What the library brings is for the registry to say.
TEST(Availability, ALibraryOfModelsOpensTheNames) {
  for (const std::string name : {"mine", "llama4"}) {
    JobConfig job;
    job.model.name = name;
    job.experimental.custom_import = "mine.so";
    EXPECT_EQ(settle(job).problems, "");
    Problems problems;
    std::vector<std::string> notes;
    check(job, /*world_size=*/1, problems, notes);
    EXPECT_EQ(joined(problems.lines()), "");
    job.experimental.custom_import = "";
    check(job, /*world_size=*/1, problems, notes);
    EXPECT_EQ(settle(job).problems.empty() && problems.lines().empty(), false) << name;
  }
}

TEST(Availability, SpeedIsAcceptedWithOneLine) {
  const Settled settled = settle(
      "[compile]\nenable = true\nbackend = 'eager'\n[training]\ngc_freq = 10\n[training.dataloader]\nnum_workers = 2\n"
      "[comm]\ntrace_buf_size = 300\n");
  EXPECT_EQ(settled.problems, "");
  EXPECT_EQ(settled.notes,
            "training.gc_freq: 10 is accepted, but has no effect yet\n"
            "training.dataloader.num_workers: 2 is accepted, but has no effect yet\n"
            "compile.enable: true is accepted, but has no effect yet\n"
            "compile.backend: \"eager\" is accepted, but has no effect yet\n");
}

TEST(Availability, ShardingIsThere) {
  EXPECT_EQ(settle("[parallelism]\ndata_parallel_shard_degree = 2\nfsdp_reshard_after_forward = 'always'\n").problems,
            "");
}

TEST(Availability, PartsOfWhatIsOffAskForNothing) {
  EXPECT_EQ(settle("[parallelism]\nexpert_parallel_comm_backend = 'deepep'\ndisable_loss_parallel = true\n").problems,
            "");
}

TEST(Availability, RangesAreNotReportedTwice) {
  JobConfig config;
  config.activation_checkpoint.mode = "sometimes";
  config.parallelism.tensor_parallel_degree = 0;
  config.parallelism.pipeline_parallel_degree = config.parallelism.data_parallel_replicate_degree =
      std::numeric_limits<int64_t>::max();
  EXPECT_EQ(settle(config).problems, "");  // check() has said it
  EXPECT_EQ(settle(config).config.activation_checkpoint.mode, "sometimes");
}

}  // namespace
}  // namespace titan::config
