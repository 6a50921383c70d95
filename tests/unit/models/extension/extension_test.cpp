// experimental.custom_import: a model that the program was not built with trains as ours do (examples/custom_model),
// and each library that cannot be used is refused in one line.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/run_program.h"
#include "tests/support/runs_all.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

const std::string kLibrary = "--experimental.custom_import=" TITAN_PARALLEL_GPT;

const std::vector<std::string> kModel = {kLibrary,
                                         "--model.name=parallel_gpt",
                                         "--model.flavor=tiny",
                                         "--model.args.vocab_size=320",
                                         "--model.args.dim=24",
                                         "--training.steps=4"};

test::Finished run(const std::string& verb, const std::filesystem::path& folder, const std::vector<std::string>& flags,
                   int64_t num_ranks = 1) {
  std::vector<std::string> argv = test::tiny_data_job(TITAN_BINARY, folder, flags);
  argv[1] = verb;
  const std::vector<std::string> launch{"launch", "--nproc-per-node", std::to_string(num_ranks), "--"};
  if (num_ranks > 1) argv.insert(argv.begin() + 1, launch.begin(), launch.end());
  return test::run_program(argv);
}

std::vector<std::string> with(std::vector<std::string> flags, const std::vector<std::string>& more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

std::vector<test::LoggedStep> train(const std::vector<std::string>& flags, int64_t num_ranks) {
  const test::OutputFolder folder;
  const test::Finished finished = run("train", folder.path(), with(kModel, flags), num_ranks);
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_NE(finished.out.find("Building parallel_gpt tiny with dim 24, 2 parallel layers"), std::string::npos)
      << finished.out;
  return test::logged_steps(folder.path());
}

TEST(CustomImport, TheModelLearnsAlikeOnOneRankAndSharded) {
  const auto alone = train({"--training.local_batch_size=4"}, 1);
  const auto sharded = train({"--training.local_batch_size=2", "--parallelism.data_parallel_shard_degree=2"}, 2);
  ASSERT_EQ(alone.size(), 4u);
  ASSERT_EQ(sharded.size(), 4u);
  EXPECT_LT(alone[3].loss, alone[0].loss);
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_LT(std::abs(sharded[i].loss / alone[i].loss - 1), 2e-6) << "step " << i + 1;
    EXPECT_LT(std::abs(sharded[i].grad_norm / alone[i].grad_norm - 1), 1e-5) << "step " << i + 1;
  }
}

// The program starts itself again, so the library is loaded in each worker.
TEST(CustomImport, VerifyHolds) {
  const test::OutputFolder folder;
  const test::Finished finished =
      run("verify", folder.path(),
          with(kModel, {"--training.local_batch_size=4", "--layouts", "dp_shard=2", "--steps", "2"}));
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_NE(finished.out.find("verdict: all 1 layouts hold"), std::string::npos) << finished.out;
}

TEST(CustomImport, ACheckpointResumesAndHasNoHuggingFaceFormat) {
  const test::OutputFolder folder;
  const std::vector<std::string> saving = with(kModel, {"--checkpoint.enable", "--checkpoint.no-last_save_model_only"});
  EXPECT_EQ(run("train", folder.path(), with(saving, {"--training.steps=2"})).exit_code, 0);
  const test::Finished resumed = run("train", folder.path(), saving);
  EXPECT_NE(resumed.out.find("Training starts at step 3"), std::string::npos) << resumed.out << resumed.err;

  const test::Finished exported =
      run("train", folder.path(), with(kModel, {"--checkpoint.enable", "--checkpoint.last_save_in_hf"}));
  EXPECT_EQ(exported.exit_code, 1);
  EXPECT_EQ(exported.err, "checkpoint.last_save_in_hf: this model has no Hugging Face format; leave it off\n");
}

// What is wrong with a job, as its one line.
std::string refused(const std::vector<std::string>& flags) {
  const test::OutputFolder folder;
  const test::Finished finished = run("train", folder.path(), with(kModel, flags));
  EXPECT_EQ(finished.exit_code, 1) << finished.out;
  EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
  return finished.err;
}

void expect_refused(const std::string& library, const std::string& begin, const std::string& part) {
  const std::string line = refused({"--experimental.custom_import=" + library});
  EXPECT_EQ(line.rfind("experimental.custom_import: " + begin, 0), 0u) << line;
  EXPECT_NE(line.find(part), std::string::npos) << line;
}

TEST(CustomImport, WhatIsNoLibraryOfModelsIsRefusedInOneLine) {
  expect_refused("torchtitan.experiments.mine", "no such file: torchtitan.experiments.mine;", "shared library (.so)");
  expect_refused("/", "no such file: /;", "");
  const test::OutputFolder folder;
  const std::string text = (folder.path() / "text.so").string();
  std::ofstream(text) << "not a library\n";
  expect_refused(text, "cannot load " + text + ": ", "build it against this titan.cpp (0.");
  expect_refused(TITAN_EXTENSION_WITHOUT_SYMBOL, TITAN_EXTENSION_WITHOUT_SYMBOL " is no library of models",
                 "it has no symbol titan_extension");
}

TEST(CustomImport, LibrariesOfAnotherTitanAreRefusedInOneLine) {
  expect_refused(TITAN_EXTENSION_OF_ANOTHER, TITAN_EXTENSION_OF_ANOTHER " was built against titan.cpp 0.0.1-x, but",
                 "build it again");
  expect_refused(TITAN_EXTENSION_WITH_UNDEFINED, "cannot load ", "undefined symbol: ");
}

TEST(CustomImport, NamesMustBeNewAndThere) {
  expect_refused(TITAN_EXTENSION_NAMED_LLAMA3, TITAN_EXTENSION_NAMED_LLAMA3 " brings a model 'llama3'",
                 "give it another");
  EXPECT_EQ(refused({"--model.name=parallel_gpd"}),
            "model.name: expected one of llama3, qwen3, parallel_gpt, got 'parallel_gpd'\n");
}

TEST(CustomImport, TheModelsOwnChecksAreHeard) {
  EXPECT_EQ(refused({"--model.args.n_heads=5"}), "model.args.n_heads: must divide model.args.dim (24), got 5\n");
  EXPECT_EQ(refused({"--model.args.rope_theta=1e4"}),
            "model.args.rope_theta: parallel_gpt has no such size; it has dim, n_layers, n_heads, vocab_size, "
            "max_seq_len, norm_eps\n");
}

// The folder as somebody would have it elsewhere, against this build: a minute, so only with TITAN_TEST_ALL=1.
TEST(CustomImport, TheExampleBuildsOutsideTheTree) {
  if (!test::runs_all()) GTEST_SKIP() << "runs with --all";
  const test::OutputFolder folder;
  const std::string source = (folder.path() / "source").string(), build = (folder.path() / "build").string();
  std::filesystem::copy(TITAN_SOURCE_DIR "/examples/custom_model", source);
  const test::Finished configured = test::run_program(
      {TITAN_CMAKE, "-S", source, "-B", build, "-G", "Ninja", std::string("-Dtitan_DIR=") + TITAN_BUILD_DIR});
  ASSERT_EQ(configured.exit_code, 0) << configured.out << configured.err;
  const test::Finished built = test::run_program({TITAN_CMAKE, "--build", build}, {.timeout_seconds = 300});
  ASSERT_EQ(built.exit_code, 0) << built.out << built.err;
  const test::Finished trained =
      run("train", folder.path(), with(kModel, {"--experimental.custom_import=" + build + "/parallel_gpt.so"}));
  EXPECT_EQ(trained.exit_code, 0) << trained.err;
}

// Names of the program's own stay there beside it.
TEST(CustomImport, OursAreStillFound) {
  const test::OutputFolder folder;
  const test::Finished finished = run("train", folder.path(),
                                      {kLibrary, "--model.args.dim=24", "--model.args.n_heads=3",
                                       "--model.args.n_layers=1", "--model.args.vocab_size=320", "--training.steps=1"});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_NE(finished.out.find("Building llama3 debugmodel"), std::string::npos);
}

}  // namespace
}  // namespace titan
