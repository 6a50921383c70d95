#include "titan/config/check.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "tests/unit/config/read_text.h"

namespace titan::config {
namespace {

std::string problems_of(const JobConfig& config, int64_t world_size) {
  Problems problems;
  std::vector<std::string> notes;
  check(config, world_size, problems, notes);
  return joined(problems.lines());
}

std::string notes_of(const JobConfig& config, int64_t world_size) {
  Problems problems;
  std::vector<std::string> notes;
  check(config, world_size, problems, notes);
  return joined(notes);
}

TEST(Check, DefaultsAreValidOnAnyNumberOfRanks) {
  for (const int64_t world_size : {1, 2, 3, 7, 10000}) EXPECT_EQ(problems_of({}, world_size), "") << world_size;
}

TEST(Check, DegreesMustMultiplyToTheWorldSize) {
  JobConfig config;
  config.parallelism.tensor_parallel_degree = 4;
  EXPECT_EQ(problems_of(config, 8), "");
  EXPECT_EQ(
      problems_of(config, 6),
      "parallelism.tensor_parallel_degree: the degrees (tp 4) must divide the world size, got 4 on 6 ranks; use 4 "
      "ranks or a multiple\n");
  config.parallelism.data_parallel_shard_degree = 2;
  EXPECT_EQ(problems_of(config, 8), "");
  EXPECT_EQ(
      problems_of(config, 16),
      "parallelism.tensor_parallel_degree: the degrees (dp_shard 2 x tp 4) must multiply to the world size, got 8 "
      "on 16 ranks; use 8 ranks, or parallelism.data_parallel_shard_degree -1 for all that are left\n");
}

TEST(Check, OffloadNeedsShards) {
  JobConfig config;
  config.training.enable_cpu_offload = true;
  EXPECT_EQ(problems_of(config, 2), "");
  config.parallelism.data_parallel_replicate_degree = 2;
  EXPECT_EQ(problems_of(config, 2),
            "training.enable_cpu_offload: needs parameters that are sharded, got "
            "parallelism.data_parallel_shard_degree 1; shard over 2 ranks or more, or leave it off\n");
}

TEST(Check, SequencesAreSplitEvenly) {
  JobConfig config;
  config.parallelism.tensor_parallel_degree = 4;
  config.training.seq_len = 130;
  EXPECT_EQ(problems_of(config, 4),
            "training.seq_len: must be a multiple of parallelism.tensor_parallel_degree (4), got 130; use 132, or set "
            "parallelism.disable_sequence_parallel\n");
  config.parallelism.disable_sequence_parallel = true;
  EXPECT_EQ(problems_of(config, 4), "");
}

TEST(Check, AsynchronousTensorParallelNeedsPartsOfTheSequence) {
  JobConfig config;
  config.parallelism.tensor_parallel_degree = 2;
  config.parallelism.enable_async_tensor_parallel = true;
  EXPECT_EQ(problems_of(config, 2), "");
  config.parallelism.disable_sequence_parallel = true;
  EXPECT_EQ(problems_of(config, 2),
            "parallelism.enable_async_tensor_parallel: needs sequence parallel, got "
            "parallelism.disable_sequence_parallel true; leave one of the two off\n");
  config.parallelism.tensor_parallel_degree = 1;
  EXPECT_EQ(problems_of(config, 1), "");
  EXPECT_EQ(notes_of(config, 1),
            "parallelism.enable_async_tensor_parallel: without effect, since parallelism.tensor_parallel_degree is "
            "1\n");
}

TEST(Check, DegreesOutOfRangeDoNotOverflow) {
  JobConfig config;
  Parallelism& p = config.parallelism;
  p.tensor_parallel_degree = p.context_parallel_degree = p.pipeline_parallel_degree = p.data_parallel_replicate_degree =
      std::numeric_limits<int64_t>::max();
  EXPECT_NE(problems_of(config, 8), "");
  p.data_parallel_shard_degree = 0;
  p.tensor_parallel_degree = std::numeric_limits<int64_t>::min();
  config.training.local_batch_size = config.training.global_batch_size = std::numeric_limits<int64_t>::max();
  EXPECT_NE(problems_of(config, 8), "");
}

TEST(Check, DataParallelDegreeIsWhatTheOthersLeave) {
  JobConfig config;
  EXPECT_EQ(data_parallel_degree(config, 6), 6);
  config.parallelism.tensor_parallel_degree = 2;
  config.parallelism.data_parallel_replicate_degree = 3;
  EXPECT_EQ(data_parallel_degree(config, 12), 6);
  EXPECT_EQ(smallest_world_size(config), 6);
  EXPECT_EQ(global_batch_size(config, 12), 48);
  config.parallelism.data_parallel_shard_degree = 5;
  EXPECT_EQ(data_parallel_degree(config, 30), 15);
  EXPECT_EQ(smallest_world_size(config), 30);
}

TEST(Check, GlobalBatchMustBeWholePasses) {
  JobConfig config;
  config.training.global_batch_size = 24;
  EXPECT_EQ(problems_of(config, 3), "");
  EXPECT_EQ(problems_of(config, 2),
            "training.global_batch_size: must be a multiple of local_batch_size x data parallel degree (8 x 2 = 16), "
            "got 24\n");
  config.training.global_batch_size = 0;
  EXPECT_EQ(problems_of(config, 1), "training.global_batch_size: must be at least 1 or -1, got 0\n");
}

TEST(Check, AllProblemsAreFoundAtOnce) {
  JobConfig config;
  config.optimizer.lr = -1;
  config.optimizer.beta2 = 1;
  config.training.seq_len = 0;
  config.training.dtype = "float16";
  config.metrics.log_freq = 0;
  config.model.name = "lama3";
  config.activation_checkpoint.selective_ac_option = "0";
  config.checkpoint.keep_latest_k = 1;
  const std::string text = problems_of(config, 1);
  for (const char* key :
       {"optimizer.lr: ", "optimizer.beta2: ", "training.seq_len: ", "training.dtype: ", "metrics.log_freq: ",
        "model.name: ", "activation_checkpoint.selective_ac_option: ", "checkpoint.keep_latest_k: "}) {
    EXPECT_NE(text.find(key), std::string::npos) << key;
  }
}

TEST(Check, ContradictionsAreNamed) {
  JobConfig config;
  config.checkpoint.initial_load_in_hf = true;
  config.checkpoint.initial_load_model_only = false;
  EXPECT_NE(problems_of(config, 1).find("checkpoint.initial_load_model_only: "), std::string::npos);
  config = {};
  config.checkpoint.last_save_in_hf = true;
  config.checkpoint.last_save_model_only = false;
  EXPECT_NE(problems_of(config, 1).find("checkpoint.last_save_model_only: "), std::string::npos);
  config = {};
  config.training.dataloader.prefetch_factor = 2;
  EXPECT_NE(problems_of(config, 1).find("training.dataloader.prefetch_factor: "), std::string::npos);
  config = {};
  config.parallelism.context_parallel_degree = 2;
  config.training.seq_len = 6;
  EXPECT_NE(
      problems_of(config, 2).find("training.seq_len: must be a multiple of 4 for parallelism.context_parallel_degree "
                                  "2, got 6; use 8"),
      std::string::npos);
  config.training.seq_len = 8;
  EXPECT_EQ(problems_of(config, 2), "");
  config.training.seq_len = 6;
  config.parallelism.context_parallel_load_balancer.reset();
  EXPECT_EQ(problems_of(config, 2), "");
  config.validation.enable = true;
  config.validation.seq_len = 7;
  EXPECT_NE(problems_of(config, 2).find("validation.seq_len: must be a multiple of 2"), std::string::npos);
  config.validation.enable = false;
  config.parallelism.tensor_parallel_degree = 2;
  EXPECT_NE(problems_of(config, 4).find("training.seq_len: must be a multiple of context_parallel_degree x "
                                        "tensor_parallel_degree (2 x 2), got 6; use 8"),
            std::string::npos);
  config.parallelism.disable_sequence_parallel = true;
  EXPECT_EQ(problems_of(config, 4), "");
  config = {};
  config.parallelism.context_parallel_degree = 2;
  config.training.enable_cpu_offload = true;  // parameters are sharded over the ranks that share a sequence
  EXPECT_EQ(problems_of(config, 2), "");
  config = {};
  config.parallelism.pipeline_parallel_degree = 2;
  config.parallelism.pipeline_parallel_microbatch_size = 3;
  EXPECT_NE(problems_of(config, 2).find("parallelism.pipeline_parallel_microbatch_size: "), std::string::npos);
}

std::string misfits(int64_t tp, int64_t n_heads, int64_t n_kv_heads) {
  JobConfig config;
  config.parallelism.tensor_parallel_degree = tp;
  Problems problems;
  check_degrees_against_model(config, n_heads, n_kv_heads, problems);
  return joined(problems.lines());
}

TEST(Check, DegreesMustFitTheModel) {
  EXPECT_EQ(misfits(8, 32, 8), "");
  EXPECT_EQ(misfits(3, 32, 8),
            "parallelism.tensor_parallel_degree: must divide num_kv_heads (8), got 3; use 1, 2, 4 or 8\n");
  EXPECT_EQ(misfits(3, 5, 3), "parallelism.tensor_parallel_degree: must divide num_heads (5), got 3; use 1 or 5\n");
  EXPECT_EQ(
      misfits(7, 720, 720),
      "parallelism.tensor_parallel_degree: must divide num_kv_heads (720), got 7; use 1, 2, 3, 4, 5, 6, 8, 9 ...\n");
  EXPECT_EQ(misfits(0, 0, 0), "");  // said already
}

TEST(Check, WarmupOverTheStepsIsNoProblem) {
  JobConfig config;
  config.training.steps = 10;
  EXPECT_EQ(problems_of(config, 1), "");
}

TEST(Check, InitialCheckpointWithoutCheckpointsIsNoted) {
  JobConfig config;
  config.checkpoint.initial_load_path = "x";
  Problems problems;
  std::vector<std::string> notes;
  check(config, 1, problems, notes);
  EXPECT_EQ(joined(notes), "checkpoint.initial_load_path: without effect, since checkpoint.enable is false\n");
  config.checkpoint.enable = true;
  notes.clear();
  check(config, 1, problems, notes);
  EXPECT_TRUE(notes.empty());
}

class CheckFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_);
    config_.model.hf_assets_path = folder_;
    config_.training.dataset_path = folder_;
    config_.job.dump_folder = folder_ / "outputs";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string problems() {
    Problems problems;
    check_files(config_, problems);
    return joined(problems.lines());
  }

  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("titan_check_" + std::to_string(getpid()));
  JobConfig config_;
};

TEST_F(CheckFiles, MissingTokenizerNamesItsKey) {
  EXPECT_EQ(problems(), "model.hf_assets_path: no tokenizer in " + folder_.string() + ": tokenizer.json is missing\n");
  std::ofstream(folder_ / "tokenizer.json") << "{}";
  EXPECT_EQ(problems(), "");
  config_.model.hf_assets_path = "/nowhere";
  EXPECT_EQ(problems(),
            "model.hf_assets_path: no such folder: /nowhere; give one with a tokenizer in it (tokenizer.json)\n");
}

TEST_F(CheckFiles, MissingDataNamesItsKey) {
  std::ofstream(folder_ / "tokenizer.json") << "{}";
  config_.training.dataset_path = "/nowhere";
  EXPECT_EQ(problems(), "training.dataset_path: no such file or folder: /nowhere\n");
  config_.training.dataset_path.reset();
  EXPECT_EQ(problems().rfind("training.dataset_path: dataset c4_test is read from disk", 0), 0u);
  config_.training.dataset_path = folder_;
  config_.validation.enable = true;
  EXPECT_EQ(problems().rfind("validation.dataset_path: ", 0), 0u);
}

TEST_F(CheckFiles, MissingCheckpointCountsOnlyWhenCheckpointsAreOn) {
  std::ofstream(folder_ / "tokenizer.json") << "{}";
  config_.checkpoint.initial_load_path = "/nowhere";
  EXPECT_EQ(problems(), "");
  config_.checkpoint.enable = true;
  EXPECT_EQ(problems(), "checkpoint.initial_load_path: no such checkpoint: /nowhere\n");
}

TEST_F(CheckFiles, DumpFolderMustNotBeAFile) {
  std::ofstream(folder_ / "tokenizer.json") << "{}";
  std::ofstream(folder_ / "outputs") << "";
  EXPECT_EQ(problems().rfind("job.dump_folder: must be a folder", 0), 0u);
}

}  // namespace
}  // namespace titan::config
