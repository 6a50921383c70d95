// The cases of configs/bench: each is a valid job of the size that its name and its first line say.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "titan/config/check.h"
#include "titan/config/reader.h"
#include "titan/models/registry.h"

namespace titan::bench {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(TITAN_SOURCE_DIR) / "configs" / "bench";

std::vector<std::string> cases() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".toml") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string text_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

class BenchConfig : public testing::TestWithParam<std::string> {
 protected:
  std::filesystem::path file() const { return kFolder / (GetParam() + ".toml"); }
  // "1B, seq 4096, local batch 2: all bf16, eager, no AC"
  std::string first_line() const {
    const std::string text = text_of(file());
    return text.substr(2, text.find('\n') - 2);
  }
  config::JobConfig read(config::Problems& problems) const {
    return config::read({"--job.config_file", file().string()}, problems).config;
  }
};

TEST_P(BenchConfig, IsValidOnOneRank) {
  config::Problems problems;
  const config::JobConfig job = read(problems);
  std::vector<std::string> notes;
  config::check(job, /*world_size=*/1, problems, notes);
  config::check_files(job, problems);
  models::find_model(job.model.name)->check(job, problems);
  EXPECT_EQ(problems.lines(), std::vector<std::string>());
  EXPECT_EQ(notes, std::vector<std::string>());
}

TEST_P(BenchConfig, IsWhatItsFirstLineSays) {
  config::Problems problems;
  const config::JobConfig job = read(problems);
  const std::string line = first_line();
  const auto says = [&](std::string_view text) { return line.find(text) != std::string::npos; };
  EXPECT_TRUE(says(fmt::format("seq {}, local batch {}", job.training.seq_len, job.training.local_batch_size)));
  EXPECT_EQ(says("all bf16"), job.training.dtype == "bfloat16");
  EXPECT_EQ(job.training.mixed_precision_param, "bfloat16");
  EXPECT_EQ(says("compile"), job.compile.enable);
  EXPECT_NE(says("eager"), job.compile.enable);
  EXPECT_EQ(says("Float8"), !job.model.converters.empty());
  if (says("Float8")) {
    EXPECT_TRUE(says(*job.quantize.linear.float8.recipe_name)) << line;
  }
  const config::ActivationCheckpoint& ac = job.activation_checkpoint;
  EXPECT_EQ(says("full AC"), ac.mode == "full");
  EXPECT_EQ(says("per-op selective AC"), ac.mode == "selective" && ac.selective_ac_option == "op");
  EXPECT_EQ(says("every 2nd layer"), ac.mode == "selective" && ac.selective_ac_option == "2");
  EXPECT_EQ(says("memory budget"), ac.mode == "memory_budget");
  if (says("memory budget")) {
    EXPECT_TRUE(says(fmt::format("budget {}", ac.memory_budget)));
  }
  EXPECT_EQ(job.optimizer.implementation, "fused");
  EXPECT_EQ(job.training.max_norm, 1.0);
  EXPECT_EQ(job.metrics.log_freq, 5);
  EXPECT_FALSE(job.checkpoint.enable);
}

TEST_P(BenchConfig, HasTheModelItNames) {
  config::Problems problems;
  const config::JobConfig job = read(problems);
  const models::ModelSpec& spec = *models::find_model(job.model.name);
  int64_t num_parameters = 0;
  for (const nn::Parameter* parameter : spec.build(job)->parameters()) num_parameters += parameter->get().numel();
  if (GetParam().starts_with("1b")) {
    EXPECT_EQ(num_parameters, 1'498'482'688);
    EXPECT_EQ(spec.describe(job),
              "dim 2048, 16 layers, 32 heads, 8 KV heads, FFN 8192, vocabulary 128256, rope_theta 500000, untied "
              "embedding and output");
  } else if (GetParam().starts_with("8b")) {
    EXPECT_EQ(num_parameters, 8'030'261'248);
  } else {
    EXPECT_EQ(GetParam(), "debug");
    EXPECT_EQ(num_parameters, 6'163'712);
  }
}

TEST_P(BenchConfig, IsARowOfTheTable) {
  const std::string row = fmt::format("\n| `{}.toml` | {} |\n", GetParam(), first_line());
  EXPECT_NE(text_of(kFolder / "README.md").find(row), std::string::npos) << row;
}

INSTANTIATE_TEST_SUITE_P(All, BenchConfig, testing::ValuesIn(cases()),
                         [](const auto& info) { return "_" + info.param; });

TEST(BenchConfigs, AreTheCasesThatTheTableHas) {
  const std::string table = text_of(kFolder / "README.md");
  size_t num_rows = 0;
  for (size_t at = table.find("\n| `"); at != std::string::npos; at = table.find("\n| `", at + 1)) ++num_rows;
  EXPECT_EQ(cases().size(), num_rows);
  EXPECT_EQ(num_rows, 23u);
}

}  // namespace
}  // namespace titan::bench
