#include "titan/config/renamed_keys.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/config/read_text.h"
#include "titan/config/check.h"
#include "titan/config/fields.h"

namespace titan::config {
namespace {

TEST(RenamedKeys, EachLeadsToAKeyAndIsNoKeyItself) {
  JobConfig config;
  std::set<std::string> keys;
  for (const Field& field : fields_of(config)) keys.insert(field.key);
  for (const RenamedKey& renamed : renamed_keys()) {
    EXPECT_FALSE(keys.count(std::string(renamed.from))) << renamed.from;
    const bool leads_nowhere = renamed.meaning == RenamedKey::Meaning::kDropped;
    EXPECT_TRUE(leads_nowhere || keys.count(std::string(renamed.to))) << renamed.from;
  }
}

// A file as TorchTitan v0.1 had them, in its own words.
TEST(RenamedKeys, FileOfVersion01IsReadWithOneLineEach) {
  const ReadText read = from_toml(
      "[job]\nprint_args = true\nuse_for_integration_test = true\n[model]\ntokenizer_path = './tok'\n"
      "[lr_scheduler]\nlr_min = 0.25\n[training]\nbatch_size = 4\ncompile = true\nseed = 7\ndeterministic = true\n"
      "[checkpoint]\nenable_checkpoint = true\nmodel_weights_only = false\n[float8]\nfilter_fqns = 'output'\n"
      "force_recompute_fp8_weight_in_bwd = true\n[memory_estimation]\nenabled = false\n");
  EXPECT_TRUE(read.problems.empty()) << joined(read.problems.lines());
  const JobConfig& config = read.reading.config;
  EXPECT_TRUE(config.job.print_config);
  EXPECT_EQ(config.model.hf_assets_path, "./tok");
  EXPECT_EQ(config.lr_scheduler.min_lr_factor, 0.25);
  EXPECT_EQ(config.training.local_batch_size, 4);
  EXPECT_TRUE(config.compile.enable);
  EXPECT_EQ(config.debug.seed, 7);
  EXPECT_TRUE(config.debug.deterministic);
  EXPECT_TRUE(config.checkpoint.enable);
  EXPECT_FALSE(config.checkpoint.last_save_model_only);
  EXPECT_EQ(config.quantize.linear.float8.filter_fqns, Strings{"output"});
  EXPECT_EQ(read.reading.notes.size(), 13u) << joined(read.reading.notes);
}

TEST(RenamedKeys, WorkOnTheCommandLineToo) {
  const ReadText read =
      from_flags({"--training.compile", "--training.batch_size", "2", "--validation.no-enabled",
                  "--float8.enable_float8_linear", "--experimental.pipeline_parallel_schedule", "gpipe"});
  EXPECT_TRUE(read.problems.empty()) << joined(read.problems.lines());
  EXPECT_TRUE(read.reading.config.compile.enable);
  EXPECT_EQ(read.reading.config.training.local_batch_size, 2);
  EXPECT_EQ(read.reading.config.model.converters, Strings{"float8"});
  EXPECT_EQ(read.reading.config.parallelism.pipeline_parallel_schedule, "GPipe");
}

TEST(RenamedKeys, FlagsThatTurnedAroundAreInverted) {
  EXPECT_TRUE(from_toml("[training]\nenable_loss_parallel = false\n").reading.config.parallelism.disable_loss_parallel);
  EXPECT_TRUE(from_flags({"--training.no-enable_loss_parallel"}).reading.config.parallelism.disable_loss_parallel);
  EXPECT_EQ(from_toml("[optimizer]\nfused = false\n").reading.config.optimizer.implementation, "foreach");
}

TEST(RenamedKeys, CurrentNameWinsOverAnOlderOne) {
  const ReadText read = from_toml("[training]\nlocal_batch_size = 3\nbatch_size = 4\n");
  EXPECT_EQ(read.reading.config.training.local_batch_size, 3);
}

TEST(RenamedKeys, WhatCannotBeTranslatedIsRefused) {
  EXPECT_EQ(joined(from_toml("[parallelism]\npipeline_parallel_split_points = ['layers.1']\n").problems.lines()),
            "parallelism.pipeline_parallel_split_points: is not a key any more; use "
            "parallelism.module_fqns_per_model_part\n");
  EXPECT_TRUE(from_toml("[checkpoint]\ninterval_type = 'steps'\n").problems.empty());
  EXPECT_FALSE(from_toml("[checkpoint]\ninterval_type = 'seconds'\n").problems.empty());
}

TEST(RenamedKeys, LaterProblemsNameTheKeyAsTyped) {
  ReadText read = from_flags({"--training.batch_size", "0"});
  std::vector<std::string> notes;
  check(read.reading.config, 1, read.problems, notes);
  EXPECT_EQ(joined(read.problems.lines()),
            "training.batch_size (now training.local_batch_size): must be at least 1, got 0\n");
}

}  // namespace
}  // namespace titan::config
