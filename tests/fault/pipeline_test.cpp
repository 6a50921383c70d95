// Training over a pipeline from the command line: validation, checkpoints, tied weights, a schedule from a file, and
// what is wrong with a job said in one line.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support/run_program.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

using Flags = std::vector<std::string>;

// 4 layers; 4 samples a step.
test::Finished train(const std::filesystem::path& folder, int64_t num_ranks, const Flags& flags) {
  Flags argv = test::tiny_job(TITAN_BINARY, folder, {"--model.args.n_layers=4", "--training.local_batch_size=4"});
  argv.insert(argv.end(), flags.begin(), flags.end());
  if (num_ranks > 1) {
    const Flags launch{"launch", "--nproc-per-node", std::to_string(num_ranks), "--local-ranks-filter", "0,1", "--"};
    argv.insert(argv.begin() + 1, launch.begin(), launch.end());
  }
  return test::run_program(argv, {.timeout_seconds = 120});
}

std::vector<double> losses(const std::filesystem::path& folder) {
  std::vector<double> all;
  for (const test::LoggedStep& step : test::logged_steps(folder)) all.push_back(step.loss);
  return all;
}

// By step.
std::map<int64_t, double> validation_losses(const std::filesystem::path& folder) {
  std::map<int64_t, double> all;
  std::ifstream lines(folder / "metrics" / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const auto metrics = nlohmann::json::parse(line);
    const auto loss = metrics.find("validation_metrics/loss");
    if (loss != metrics.end()) all[metrics.at("step")] = *loss;
  }
  return all;
}

const Flags kPipeline{"--parallelism.pipeline_parallel_degree=2",
                      "--parallelism.pipeline_parallel_schedule=ZBVZeroBubble",
                      "--parallelism.pipeline_parallel_first_stage_less_layers=0"};

Flags with(Flags flags, const Flags& more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

// 5 samples at a time, which microbatches of 2 do not divide.
TEST(Pipeline, ValidatesAsOneDevice) {
  const Flags validation{"--validation.enable",
                         "--validation.dataset=c4_test",
                         "--validation.dataset_path=" + (test::tiny_golden() / "corpus").string(),
                         "--validation.local_batch_size=5",
                         "--validation.seq_len=40",
                         "--validation.steps=2",
                         "--validation.freq=3",
                         "--training.steps=4",
                         "--parallelism.pipeline_parallel_microbatch_size=2"};
  const test::OutputFolder one, two;
  const test::Finished of_one = train(one.path(), 1, validation);
  ASSERT_EQ(of_one.exit_code, 0) << of_one.err;
  const test::Finished of_two = train(two.path(), 2, with(validation, kPipeline));
  ASSERT_EQ(of_two.exit_code, 0) << of_two.err;
  const auto expected = validation_losses(one.path()), found = validation_losses(two.path());
  ASSERT_EQ(expected.size(), 2u);
  ASSERT_EQ(found.size(), 2u);
  for (const auto& [step, loss] : expected) EXPECT_NEAR(found.at(step) / loss, 1, 2e-6) << "step " << step;
}

// The rank with the first stage and the one with the last.
TEST(Pipeline, EveryRankLogsTheLoss) {
  const test::OutputFolder folder;
  const test::Finished finished =
      train(folder.path(), 2, {"--parallelism.pipeline_parallel_degree=2", "--training.steps=1"});
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  // "[rank1]:... step:  1  loss:  6.25460  grad_norm: ..."
  const auto loss_of = [&](const std::string& rank) {
    std::istringstream lines(finished.out);
    for (std::string line; std::getline(lines, line);) {
      const size_t loss = line.find("  loss:  ");
      if (line.starts_with("[" + rank + "]") && loss != std::string::npos) return line.substr(loss, 16);
    }
    return std::string("none");
  };
  EXPECT_EQ(loss_of("rank0"), loss_of("rank1")) << finished.out;
  EXPECT_NE(loss_of("rank0"), "none") << finished.out;
}

// 3 steps, and 3 more from what they saved, are 6 steps bit for bit; one device goes on from it, and the reverse.
TEST(Pipeline, ResumesOnAnyLayout) {
  const Flags saves{"--checkpoint.enable", "--checkpoint.interval=3", "--training.steps=6"};
  const auto until = [](const char* steps) { return Flags{std::string("--training.steps=") + steps}; };
  const test::OutputFolder through, resumed;
  const Flags pipeline = with(kPipeline, {"--lr_scheduler.decay_ratio=0"});
  ASSERT_EQ(train(through.path(), 2, with(pipeline, until("6"))).exit_code, 0);
  // The learning rate follows training.steps, so the first half is a run of six that is cut short by its checkpoint.
  const test::Finished first = train(resumed.path(), 2, with(pipeline, saves));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  for (const int64_t num_ranks : {2, 1}) {
    const test::OutputFolder folder;
    std::filesystem::create_directories(folder.path() / "checkpoint");
    std::filesystem::copy(resumed.path() / "checkpoint" / "step-3", folder.path() / "checkpoint" / "step-3",
                          std::filesystem::copy_options::recursive);
    const Flags layout = num_ranks == 2 ? pipeline : Flags{"--lr_scheduler.decay_ratio=0"};
    const test::Finished second = train(folder.path(), num_ranks, with(layout, saves));
    ASSERT_EQ(second.exit_code, 0) << second.err;
    const auto expected = test::logged_steps(through.path()), found = test::logged_steps(folder.path());
    ASSERT_EQ(found.size(), 3u) << second.out;
    for (const test::LoggedStep& step : found) {
      const double loss = expected.at(static_cast<size_t>(step.step - 1)).loss;
      if (num_ranks == 2) {
        EXPECT_EQ(step.loss, loss) << "step " << step.step;
      }
      EXPECT_NEAR(step.loss / loss, 1, 2e-6) << "step " << step.step << " on " << num_ranks << " ranks";
    }
  }
}

class Folder : public test::OutputFolder {
 public:
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path() / name) << text;
    return (path() / name).string();
  }
};

// What titan says of a job on two ranks.
std::string complaint(const Flags& flags, const std::string& world_size = "2") {
  const test::OutputFolder folder;
  Flags argv = test::tiny_job(
      TITAN_BINARY, folder.path(),
      {"--model.args.n_layers=4", "--training.local_batch_size=4", "--parallelism.pipeline_parallel_degree=2"});
  argv[1] = "config";
  argv.insert(argv.begin() + 2, {"--check", "--world-size", world_size});
  argv.insert(argv.end(), flags.begin(), flags.end());
  const test::Finished finished = test::run_program(argv);
  return finished.exit_code == 0 ? "" : finished.err;
}

TEST(Pipeline, MistakesAreOneLine) {
  const std::string prefix = "parallelism.pipeline_parallel_";
  EXPECT_EQ(complaint({}), "");
  EXPECT_EQ(complaint({"--" + prefix + "degree=7", "--training.local_batch_size=7"}, "7"),
            prefix +
                "degree: 7 stages are more than 4 layers + pipeline_parallel_first_stage_less_layers (1) + "
                "pipeline_parallel_last_stage_less_layers (1) can fill; use fewer stages\n");
  EXPECT_EQ(complaint({"--" + prefix + "degree=6", "--training.local_batch_size=6"}, "6"), "");
  EXPECT_EQ(complaint({"--training.local_batch_size=1"}),
            prefix +
                "schedule: schedule 1F1B: needs at least as many microbatches as stages (2), got 1; use more "
                "microbatches, fewer ranks or another schedule (microbatches are training.local_batch_size / "
                "pipeline_parallel_microbatch_size)\n");
  EXPECT_EQ(complaint({"--" + prefix + "microbatch_size=3"}),
            prefix + "microbatch_size: must divide training.local_batch_size (4), got 3\n");
  EXPECT_EQ(complaint({"--" + prefix + "schedule=PipelineScheduleMulti"}),
            prefix + "schedule_csv: PipelineScheduleMulti is a schedule from a file: expected its path, got none\n");
  EXPECT_EQ(complaint({"--" + prefix + "layers_per_stage=4"}), "");
  EXPECT_NE(complaint({"--" + prefix + "layers_per_stage=2"}).find("layers_per_stage: 2 makes 3 stages of 6 layers"),
            std::string::npos);
  EXPECT_EQ(
      complaint({"--parallelism.module_fqns_per_model_part", "tok_embeddings,layers.0;layers.1,layers.2,norm,output"}),
      "parallelism.module_fqns_per_model_part: layers.3 is in no stage; every module needs one\n");
}

TEST(Pipeline, ASchedulesFileIsReadBeforeAnythingStarts) {
  const Folder folder;
  const std::string key = "--parallelism.pipeline_parallel_schedule_csv=";
  const std::string good =
      folder.write("good.csv", "0F0,0F1,0F2,0F3,0B0,0B1,0B2,0B3\n1F0,1B0,1F1,1B1,1F2,1B2,1F3,1B3\n");
  EXPECT_EQ(complaint({key + good}), "");
  const std::string twice = folder.write("twice.csv", "0F0,0F0\n1F0,1B0\n");
  EXPECT_NE(complaint({key + twice}).find("twice.csv: line 1, cell 2 (0F0): "), std::string::npos)
      << complaint({key + twice});
  const std::string two = folder.write("two.csv", "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n");
  EXPECT_NE(complaint({key + two}).find("is for 2 microbatches, but training.local_batch_size / "), std::string::npos);
  EXPECT_NE(complaint({key + (folder.path() / "none.csv").string()}).find("cannot be read"), std::string::npos);

  const test::OutputFolder one, from_file;
  ASSERT_EQ(train(one.path(), 1, {"--training.steps=2"}).exit_code, 0);
  const test::Finished finished =
      train(from_file.path(), 2, {"--parallelism.pipeline_parallel_degree=2", key + good, "--training.steps=2"});
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  const auto expected = losses(one.path()), found = losses(from_file.path());
  ASSERT_EQ(found.size(), 2u);
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(found[i] / expected[i], 1, 2e-6);
}

}  // namespace
}  // namespace titan
