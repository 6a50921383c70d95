// `titan train` as a user meets it: what it prints, how it ends, what a mistake looks like.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>

#include "tests/support/run_program.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

using test::Finished;
using test::OutputFolder;

Finished train(const std::filesystem::path& folder, const std::vector<std::string>& flags,
               const test::RunOptions& options = {}) {
  return test::run_program(test::tiny_job(TITAN_BINARY, folder, flags), options);
}

int64_t count_of(const std::string& text, const std::string& part) {
  int64_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST(Train, PrintsOneLineInTorchTitansFormPerLoggedStep) {
  const OutputFolder folder;
  const Finished finished = train(folder.path(), {"--metrics.log_freq=4"});
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  const std::regex step_line(
      R"(\[rank0\]:\[titan\] [-0-9]+ [:0-9]+,\d{3} - root - INFO - step: [ \d]\d  loss: +\d+\.\d{5}  grad_norm: +\d+\.\d{4}  )"
      R"(memory: +\d+\.\d\dGiB\(\d+\.\d\d%\)  tps: [\d,]+  tflops: [\d,]+\.\d\d  mfu: \d+\.\d\d%)");
  int64_t matching = 0;
  for (const std::string& line : lines_of(finished.out)) matching += std::regex_match(line, step_line);
  EXPECT_EQ(matching, 3) << finished.out;  // steps 1, 4 and 8
  EXPECT_EQ(count_of(finished.out, "Training starts at step 1"), 1);
  EXPECT_EQ(count_of(finished.out, "\x1b"), 0) << "colours and bars are for terminals";
}

TEST(Train, SameSeedGivesTheSameLosses) {
  const OutputFolder a, b, c;
  ASSERT_EQ(train(a.path(), {"--debug.seed=7"}).exit_code, 0);
  ASSERT_EQ(train(b.path(), {"--debug.seed=7"}, {.environment = {{"OMP_NUM_THREADS", "1"}}}).exit_code, 0);
  ASSERT_EQ(train(c.path(), {"--debug.seed=8"}).exit_code, 0);
  const auto first = test::logged_steps(a.path()), again = test::logged_steps(b.path());
  ASSERT_EQ(first.size(), 10u);
  // One thread sums in another order.
  for (size_t i = 0; i < first.size(); ++i) EXPECT_NEAR(first[i].loss, again[i].loss, 1e-5);
  EXPECT_NE(first[0].loss, test::logged_steps(c.path())[0].loss);
}

// 10 steps = 5 + resume + 5, bit for bit: weights, optimizer state, schedule, data position.
TEST(Train, ResumesExactly) {
  const OutputFolder whole, parts;
  const std::vector<std::string> common{"--checkpoint.enable", "--checkpoint.no-last_save_model_only",
                                        "--lr_scheduler.total_steps=10", "--data.shuffle"};
  const auto with_steps = [&](int steps) {
    std::vector<std::string> flags = common;
    flags.push_back("--training.steps=" + std::to_string(steps));
    return flags;
  };
  ASSERT_EQ(train(whole.path(), with_steps(10)).exit_code, 0);
  ASSERT_EQ(train(parts.path(), with_steps(5)).exit_code, 0);
  const Finished resumed = train(parts.path(), with_steps(10));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(count_of(resumed.out, "Training starts at step 6"), 1) << resumed.out;
  EXPECT_EQ(count_of(resumed.out, "step:  5"), 0);

  const auto expected = test::logged_steps(whole.path()), got = test::logged_steps(parts.path());
  ASSERT_EQ(got.size(), 10u);
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].loss, expected[i].loss) << "step " << i + 1;
    EXPECT_EQ(got[i].grad_norm, expected[i].grad_norm) << "step " << i + 1;
  }
  for (const char* file : {"__0_0.distcp", ".metadata", "manifest.json"}) {
    const std::string a = bytes_of(whole.path() / "checkpoint/step-10" / file);
    ASSERT_FALSE(a.empty()) << file;
    EXPECT_EQ(a, bytes_of(parts.path() / "checkpoint/step-10" / file)) << file;
  }
}

class StopSignal : public testing::TestWithParam<int> {};

TEST_P(StopSignal, FinishesTheStepSavesAndExitsWithZero) {
  const OutputFolder folder;
  const Finished stopped = train(folder.path(), {"--training.steps=100000", "--checkpoint.enable"},
                                 {.signal = test::SignalOnOutput{GetParam(), "step:  2"}});
  EXPECT_EQ(stopped.exit_code, 0) << stopped.out << stopped.err;
  ASSERT_EQ(count_of(stopped.out, "Stopped after step "), 1) << stopped.out;
  const auto steps = test::logged_steps(folder.path());
  ASSERT_FALSE(steps.empty());
  const int64_t last = steps.back().step;
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "checkpoint" / ("step-" + std::to_string(last))));
  const Finished resumed =
      train(folder.path(), {"--training.steps=" + std::to_string(last + 2), "--checkpoint.enable"});
  EXPECT_EQ(count_of(resumed.out, "Training starts at step " + std::to_string(last + 1)), 1) << resumed.out;
}
INSTANTIATE_TEST_SUITE_P(All, StopSignal, testing::Values(SIGINT, SIGTERM));

TEST(Train, StopsWhenItsTimeIsOver) {
  const OutputFolder folder;
  const Finished finished = train(folder.path(), {"--training.steps=1000000", "--training.max_seconds=1"});
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_EQ(count_of(finished.out, "training.max_seconds (1) are over"), 1) << finished.out;
}

TEST(Train, StopsBeforeTheOptimizerSeesANonFiniteLoss) {
  const OutputFolder folder;
  const Finished finished = train(folder.path(), {"--optimizer.lr=1e30", "--checkpoint.enable", "--training.steps=50"});
  EXPECT_EQ(finished.exit_code, 1);
  const auto errors = lines_of(finished.err);
  ASSERT_EQ(errors.size(), 1u) << finished.err;
  EXPECT_NE(errors[0].find("stopped before the optimizer step"), std::string::npos) << errors[0];
  EXPECT_EQ(count_of(finished.out, "loss:      nan"), 0) << finished.out;
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "checkpoint/step-50"));
}

TEST(Train, ValidatesWithoutTouchingTheRun) {
  const OutputFolder with, without;
  const std::string data = (test::tiny_golden() / "corpus").string();
  const Finished finished =
      train(with.path(), {"--validation.enable", "--validation.dataset=c4_test", "--validation.dataset_path=" + data,
                          "--validation.seq_len=48", "--validation.freq=4", "--validation.steps=-1",
                          "--validation.local_batch_size=4"});
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_EQ(count_of(finished.out, "validate step:"), 3) << finished.out;
  ASSERT_EQ(train(without.path(), {}).exit_code, 0);
  const auto a = test::logged_steps(with.path()), b = test::logged_steps(without.path());
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].loss, b[i].loss);
}

TEST(Train, BrokenLinesStopTheRunOrAreSkippedAndCounted) {
  const OutputFolder folder;
  std::filesystem::create_directories(folder.path() / "data");
  std::filesystem::copy(test::tiny_golden() / "corpus/corpus.json", folder.path() / "data/a.json");
  std::ofstream(folder.path() / "data/b.json") << "{\"text\": 7}\n{\"text\": \"fine\"}\n";
  const std::string path = "--training.dataset_path=" + (folder.path() / "data").string();
  const Finished stopped = train(folder.path() / "out", {path});
  EXPECT_EQ(stopped.exit_code, 1);
  EXPECT_NE(stopped.err.find("b.json:1"), std::string::npos) << stopped.err;
  const Finished skipped = train(folder.path() / "out", {path, "--data.on_error=skip"});
  EXPECT_EQ(skipped.exit_code, 0) << skipped.err;
  EXPECT_NE(skipped.out.find("broken lines were skipped"), std::string::npos) << skipped.out;
}

TEST(Train, WritesASeedCheckpointThatAnotherRunStartsFrom) {
  const OutputFolder seed, direct, from_seed;
  ASSERT_EQ(
      train(seed.path(), {"--checkpoint.enable", "--checkpoint.create_seed_checkpoint", "--debug.seed=5"}).exit_code,
      0);
  ASSERT_TRUE(std::filesystem::exists(seed.path() / "checkpoint/step-0"));
  ASSERT_EQ(train(direct.path(), {"--debug.seed=5"}).exit_code, 0);
  const Finished started =
      train(from_seed.path(), {"--checkpoint.enable", "--checkpoint.load_only",
                               "--checkpoint.initial_load_path=" + (seed.path() / "checkpoint/step-0").string()});
  ASSERT_EQ(started.exit_code, 0) << started.err;
  const auto a = test::logged_steps(direct.path()), b = test::logged_steps(from_seed.path());
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].loss, b[i].loss);
}

struct Mistake {
  std::string name;
  std::vector<std::string> flags;
  std::vector<std::string> expected;  // each in a line of its own
};

class UserMistake : public testing::TestWithParam<Mistake> {};

TEST_P(UserMistake, IsOneLineThatNamesTheKey) {
  const OutputFolder folder;
  const Finished finished = train(folder.path() / "out", GetParam().flags, {.timeout_seconds = 10});
  EXPECT_GE(finished.exit_code, 1);
  EXPECT_LE(finished.exit_code, 123);
  const auto lines = lines_of(finished.err);
  EXPECT_EQ(lines.size(), GetParam().expected.size()) << finished.err;
  for (const std::string& part : GetParam().expected) {
    EXPECT_TRUE(std::any_of(lines.begin(), lines.end(),
                            [&](const std::string& line) { return line.find(part) != std::string::npos; }))
        << "no line with '" << part << "' in:\n"
        << finished.err;
  }
  EXPECT_EQ(finished.out.find("Training starts"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    All, UserMistake,
    testing::Values(
        Mistake{"UnknownKey", {"--optimizer.learning_rate=1"}, {"optimizer.learning_rate"}},
        Mistake{"NearMiss", {"--training.sequence_len=1"}, {"training.seq_len"}},
        Mistake{"WrongType", {"--training.steps=ten"}, {"training.steps"}},
        Mistake{"OutOfRange", {"--optimizer.lr=-1"}, {"optimizer.lr"}},
        Mistake{"UnknownModel", {"--model.name=llama5"}, {"model.name"}},
        Mistake{"UnknownFlavor", {"--model.flavor=9B"}, {"model.flavor"}},
        Mistake{"ImpossibleHeads", {"--model.args.n_heads=5"}, {"model.args.n_heads"}},
        Mistake{"MissingConfig", {"--job.config_file=/nowhere/a.toml"}, {"job.config_file"}},
        Mistake{"MissingTokenizer", {"--model.hf_assets_path=/nowhere"}, {"model.hf_assets_path"}},
        Mistake{"MissingData", {"--training.dataset_path=/nowhere"}, {"training.dataset_path"}},
        Mistake{"MissingWeights",
                {"--checkpoint.enable", "--checkpoint.initial_load_path=/nowhere"},
                {"checkpoint.initial_load_path"}},
        Mistake{"TooFewEmbeddings", {"--model.args.vocab_size=100"}, {"model.hf_assets_path"}},
        Mistake{"BatchThatDoesNotDivide", {"--training.global_batch_size=4"}, {"training.global_batch_size"}},
        Mistake{"DegreesAgainstWorldSize",
                {"--parallelism.tensor_parallel_degree=2"},
                {"on 1 ranks; use 2 ranks",
                 "parallelism.tensor_parallel_degree: must divide num_kv_heads (1), got 2; use 1"}},
        Mistake{"NotAvailableYet", {"--profiling.enable_profiling"}, {"profiling.enable_profiling"}},
        Mistake{"SeveralAtOnce",
                {"--optimizer.lr=-1", "--training.steps=ten", "--model.flavor=9B", "--training.dataset_path=/nowhere"},
                {"optimizer.lr", "training.steps", "model.flavor", "training.dataset_path"}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace titan
