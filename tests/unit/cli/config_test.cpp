// `titan config` as a user meets it: exit codes, what goes to stdout, what to stderr.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/support/run_program.h"

namespace titan::cli {
namespace {

test::Finished config(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {TITAN_BINARY, "config"});
  return test::run_program(arguments);
}

std::string recipe(std::string_view name) {
  return std::string(TITAN_SOURCE_DIR) + "/configs/" + std::string(name) + ".toml";
}

TEST(ConfigVerb, PrintReadsBackToItself) {
  const std::string path = testing::TempDir() + "titan_config_verb_" + std::to_string(getpid()) + ".toml";
  const test::Finished first = config(
      {"--print", "--job.config_file", recipe("llama3/405b"), "--training.steps", "7", "--model.args.n_layers=3"});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_NE(first.out.find("\nsteps = 7\n"), std::string::npos);
  EXPECT_NE(first.out.find("\nn_layers = 3\n"), std::string::npos);
  std::ofstream(path) << first.out;
  const test::Finished second = config({"--print", "--job.config_file", path});
  std::filesystem::remove(path);
  EXPECT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(second.out, first.out);
}

TEST(ConfigVerb, RecipesAreValidOnTheirRanksWithoutTheirFiles) {
  for (const char* name : {"llama3/8b", "llama3/70b", "llama3/405b", "llama3/debug", "qwen3/0.6b", "qwen3/1.7b",
                           "qwen3/32b", "qwen3/debug"}) {
    const test::Finished finished = config({"--check", recipe(name), "--world-size", "128"});
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    EXPECT_EQ(finished.out, "valid on 128 ranks\n");
  }
}

// What does not work yet is valid all the same.
TEST(ConfigVerb, CheckJudgesValidityNotAvailability) {
  EXPECT_EQ(config({"--check", "--world-size=4", "--parallelism.pipeline_parallel_degree", "2", "--model.converters",
                    "float8"})
                .exit_code,
            0);
  const test::Finished wrong = config({"--check", "--job.config_file", recipe("llama3/70b"), "--world-size", "12"});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_EQ(wrong.err.find("parallelism.tensor_parallel_degree: "), 0u) << wrong.err;
}

TEST(ConfigVerb, WithoutAWorldSizeTheFewestRanksAreTaken) {
  EXPECT_EQ(config({"--check", recipe("llama3/70b")}).out, "valid on 8 ranks\n");
}

TEST(ConfigVerb, SizesOfTheModelAreJudgedToo) {
  const test::Finished finished = config({"--check", "--model.flavor", "8Billion"});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_NE(finished.err.find("model.flavor: "), std::string::npos) << finished.err;
}

TEST(ConfigVerb, WarmupThatIsShortenedIsNoted) {
  const test::Finished finished = config({"--check", "--training.steps", "10"});
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_NE(finished.err.find("note: lr_scheduler.warmup_steps"), std::string::npos) << finished.err;
}

TEST(ConfigVerb, AllMistakesComeAtOnceInTwelveLines) {
  std::vector<std::string> arguments = {"--print"};
  for (int i = 0; i < 30; ++i) arguments.push_back("--training.key" + std::to_string(i) + "=1");
  const test::Finished finished = config(arguments);
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_EQ(finished.out, "");
  EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 12) << finished.err;
  EXPECT_NE(finished.err.find("training.key0: unknown key"), std::string::npos);
}

TEST(ConfigVerb, BadArgumentsOfItsOwnAreNamed) {
  EXPECT_EQ(config({}).exit_code, 1);
  EXPECT_EQ(config({"--print", "--check"}).exit_code, 1);
  for (const char* size : {"0", "-2", "x", "", "2x"}) {
    const test::Finished finished = config({"--check", "--world-size", size});
    EXPECT_EQ(finished.exit_code, 1) << size;
    EXPECT_EQ(finished.err.find("--world-size: expected"), 0u) << finished.err;
  }
  EXPECT_EQ(config({"--check", "--world-size"}).exit_code, 1);
  EXPECT_EQ(config({"--check", "/nowhere.toml"}).exit_code, 1);
}

TEST(ConfigVerb, HelpIsPrintedToStdout) {
  const test::Finished finished = config({"--help"});
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_NE(finished.out.find("usage: titan config"), std::string::npos);
}

}  // namespace
}  // namespace titan::cli
