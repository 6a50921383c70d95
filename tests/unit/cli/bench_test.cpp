// `titan bench` as a user meets it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/run_program.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

using test::Finished;
using test::OutputFolder;

// The flags of the tiny job without "PROGRAM train".
std::vector<std::string> tiny_flags(const std::filesystem::path& dump_folder) {
  std::vector<std::string> argv = test::tiny_job(TITAN_BINARY, dump_folder);
  argv.erase(argv.begin(), argv.begin() + 2);
  return argv;
}

Finished bench(const std::filesystem::path& dump_folder, const std::vector<std::string>& flags, int num_ranks = 1) {
  std::vector<std::string> argv{TITAN_BINARY};
  if (num_ranks > 1) argv.insert(argv.end(), {"launch", "--nproc-per-node", std::to_string(num_ranks), "--"});
  argv.emplace_back("bench");
  for (const std::string& flag : tiny_flags(dump_folder)) argv.push_back(flag);
  argv.insert(argv.end(), flags.begin(), flags.end());
  return test::run_program(argv);
}

nlohmann::json json_of(const std::filesystem::path& file) { return nlohmann::json::parse(std::ifstream(file)); }

// Of the tiny job: 3 samples of 48 tokens, dim 24 with 3 heads of 8 and one KV head, FFN 64, 2 layers, 320 ids.
constexpr double kTokens = 3 * 48;
constexpr double kMatmulFlops = 6 * kTokens * (2 * (2 * 24 * 24 + 2 * 24 * 8 + 3 * 24 * 64) + 24 * 320);
constexpr double kAttentionFlops = 14.0 * 3 * 2 * 24 * (48.0 * 49 / 2);

TEST(Bench, MeasuresStepsThatTrain) {
  const OutputFolder folder;
  const std::filesystem::path file = folder.path() / "bench.json";
  const Finished finished = bench(folder.path() / "dump", {"--steps=4", "--warmup", "2", "--json", file.string()});
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_NE(finished.out.find("(median of 4 steps; best "), std::string::npos) << finished.out;

  const nlohmann::json json = json_of(file);
  EXPECT_EQ(json["step_seconds"].size(), 4u);
  EXPECT_EQ(json["tokens_per_step_per_device"], kTokens);
  EXPECT_EQ(json["matmul_flops_per_step"], kMatmulFlops);
  EXPECT_EQ(json["attention_flops_per_step"], kAttentionFlops);
  EXPECT_GT(json["tokens_per_second_per_device"], 0);
  EXPECT_GE(json["best_tokens_per_second_per_device"], json["tokens_per_second_per_device"]);
  EXPECT_GT(json["setup_seconds"], 0);
  EXPECT_GT(json["first_step_seconds"], 0);
  for (const char* const category : {"matmul", "attention", "other", "optimizer", "idle"}) {
    EXPECT_GT(json["profiled_step_seconds"][category], 0) << category;
  }
  EXPECT_EQ(json["profiled_step_seconds"]["communication"], 0);

  // The last timed step is step 6.
  ASSERT_EQ(test::run_program(test::tiny_job(TITAN_BINARY, folder.path() / "train")).exit_code, 0);
  EXPECT_EQ(json["final_loss"], test::logged_steps(folder.path() / "train").at(5).loss);
}

TEST(Bench, LeavesNothingBehind) {
  const OutputFolder folder;
  const std::filesystem::path dump = folder.path() / "dump";
  const Finished finished =
      bench(dump, {"--steps=1", "--warmup=1", "--checkpoint.enable", "--checkpoint.interval=1",
                   "--checkpoint.initial_load_path=/nowhere", "--metrics.enable_tensorboard",
                   "--job.save_config_file=config.toml", "--validation.enable", "--validation.freq=1"});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_FALSE(std::filesystem::exists(dump));
  EXPECT_EQ(finished.out.find("validate"), std::string::npos) << finished.out;
}

TEST(Bench, SeveralRanksTakePartAndOneReports) {
  const OutputFolder folder;
  const std::filesystem::path file = folder.path() / "bench.json";
  const Finished finished = bench(folder.path() / "dump", {"--steps=2", "--json=" + file.string()}, /*num_ranks=*/2);
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  const nlohmann::json json = json_of(file);
  EXPECT_EQ(json["setting"]["world_size"], 2);
  EXPECT_EQ(json["setting"]["global_batch_size"], 6);
  EXPECT_EQ(json["tokens_per_step_per_device"], kTokens);
  EXPECT_EQ(json["matmul_flops_per_step"], kMatmulFlops) << "per device";
  EXPECT_GT(json["profiled_step_seconds"]["communication"], 0);
}

TEST(Bench, HelpSaysWhatItOverrides) {
  const Finished finished = test::run_program({TITAN_BINARY, "bench", "--help"});
  EXPECT_EQ(finished.exit_code, 0);
  for (const char* const part : {"--steps", "--warmup", "--json", "[checkpoint]", "[validation]", "job.dump_folder"}) {
    EXPECT_NE(finished.out.find(part), std::string::npos) << part;
  }
}

struct Mistake {
  std::string name;
  std::vector<std::string> flags;
  std::string expected;
};

class BenchMistake : public testing::TestWithParam<Mistake> {};

TEST_P(BenchMistake, IsOneLine) {
  const OutputFolder folder;
  const Finished finished = bench(folder.path() / "dump", GetParam().flags);
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_TRUE(finished.err.starts_with(GetParam().expected)) << finished.err;
  EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
  EXPECT_EQ(finished.out, "");
}

INSTANTIATE_TEST_SUITE_P(
    All, BenchMistake,
    testing::Values(Mistake{"NoSteps", {"--steps=0"}, "--steps: expected a number of at least 1, got '0'"},
                    Mistake{"StepsInWords", {"--steps", "ten"}, "--steps: expected a number of at least 1, got 'ten'"},
                    Mistake{"NoWarmup", {"--warmup=0"}, "--warmup: expected a number of at least 1, got '0'"},
                    Mistake{"NoValue", {"--json"}, "--json: expected a value after it, got none"},
                    Mistake{"NoFolder", {"--json=/nowhere/a.json"}, "--json: cannot write into '/nowhere'"},
                    Mistake{"AFolder", {"--json=/tmp"}, "--json: expected a file, got the folder '/tmp'"},
                    Mistake{"UnknownKey", {"--step=3"}, "step: "},
                    Mistake{"WrongJob", {"--training.seq_len=0"}, "training.seq_len: "}),
    [](const auto& info) { return info.param.name; });

TEST(Bench, WithoutAConfigFileItRunsWhatTrainWould) {
  const Finished trained = test::run_program({TITAN_BINARY, "train"});
  const Finished benched = test::run_program({TITAN_BINARY, "bench"});
  EXPECT_EQ(benched.exit_code, 1);
  EXPECT_EQ(benched.err, trained.err);
}

}  // namespace
}  // namespace titan
