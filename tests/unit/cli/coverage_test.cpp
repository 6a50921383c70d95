// Which operators `titan train` runs, file by file of configs/: DTensors must have a rule for each.
#include <ATen/core/dispatch/Dispatcher.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "cli/job.h"
#include "tests/support/tiny_job.h"
#include "titan/config/reader.h"
#include "titan/dtensor/counting_mode.h"
#include "titan/dtensor/rule.h"
#include "titan/train/trainer.h"

namespace titan {
namespace {

std::vector<std::filesystem::path> shipped_files() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(TITAN_SOURCE_DIR "/configs")) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// The file's job on one rank: its flavour, dtypes, optimizer, loss and clipping as they are, with sizes, degrees and
// paths that a test can afford. Activation checkpointing repeats operators; float8 replaces some, and brings its own.
std::vector<std::string> small(const std::filesystem::path& file, const std::filesystem::path& dump_folder) {
  const std::filesystem::path golden = test::tiny_golden();
  std::vector<std::string> arguments{"--job.config_file=" + file.string(),
                                     "--job.dump_folder=" + dump_folder.string(),
                                     "--model.hf_assets_path=" + (golden / "tokenizer").string(),
                                     "--model.args.dim=256",
                                     "--model.args.n_layers=2",
                                     "--model.args.vocab_size=320",
                                     "--model.converters=",
                                     "--training.dataset=c4_test",
                                     "--training.dataset_path=" + (golden / "corpus").string(),
                                     "--training.seq_len=16",
                                     "--training.local_batch_size=2",
                                     "--training.global_batch_size=-1",
                                     "--activation_checkpoint.mode=none",
                                     "--profiling.no-enable_profiling",
                                     "--checkpoint.no-enable",
                                     "--validation.no-enable"};
  for (const char* degree :
       {"data_parallel_replicate", "data_parallel_shard", "tensor_parallel", "pipeline_parallel", "context_parallel"}) {
    arguments.push_back(std::string("--parallelism.") + degree + "_degree=1");
  }
  return arguments;
}

std::set<std::string> operators_of(const std::vector<std::string>& arguments) {
  config::Problems problems;
  config::Reading reading = config::read(arguments, problems);
  const models::ModelSpec& spec = cli::check_job(reading, /*world_size=*/1, problems);
  train::Trainer trainer(reading.config, spec, cli::make_world(reading.config, {}, {}));
  dtensor::CountingMode counter;
  {
    const dtensor::ModeGuard guard(counter);
    trainer.step();
  }
  std::set<std::string> operators;
  for (const auto& [op, count] : counter.counts()) operators.insert(op);
  return operators;
}

// Factories make plain tensors: they have none to be placed.
bool takes_tensors(const std::string& op) {
  const size_t dot = op.find('.');
  const auto handle = c10::Dispatcher::singleton().findSchemaOrThrow(
      op.substr(0, dot).c_str(), dot == std::string::npos ? "" : op.substr(dot + 1).c_str());
  const auto& arguments = handle.schema().arguments();
  return std::any_of(arguments.begin(), arguments.end(), [](const c10::Argument& argument) {
    return argument.type()->str().find("Tensor") != std::string::npos;
  });
}

void expect_rules(const std::set<std::string>& operators) {
  EXPECT_GT(operators.size(), 30U);
  for (const std::string& op : operators) {
    if (takes_tensors(op)) {
      EXPECT_NE(dtensor::rule_table().find(op), nullptr) << "no sharding rule for " << op;
    }
  }
}

TEST(Coverage, EveryOperatorOfEveryShippedFileHasARule) {
  const auto files = shipped_files();
  ASSERT_GT(files.size(), 20U);
  for (const auto& file : files) {
    SCOPED_TRACE(file.string());
    const test::OutputFolder output;
    const auto operators = operators_of(small(file, output.path()));
    EXPECT_TRUE(operators.contains("aten::mm") || operators.contains("aten::linear"));
    expect_rules(operators);
  }
}

// What no shipped file asks for.
TEST(Coverage, EveryOperatorOfOtherOptimizersAndDtypesHasARule) {
  const std::filesystem::path debug = TITAN_SOURCE_DIR "/configs/llama3/debug.toml";
  for (const char* name : {"Adam", "AdamW"}) {
    for (const char* implementation : {"fused", "foreach", "for-loop"}) {
      for (const char* dtype : {"float32", "bfloat16"}) {
        SCOPED_TRACE(std::string(name) + " " + implementation + " " + dtype);
        const test::OutputFolder output;
        auto arguments = small(debug, output.path());
        arguments.push_back(std::string("--optimizer.name=") + name);
        arguments.push_back(std::string("--optimizer.implementation=") + implementation);
        arguments.push_back(std::string("--training.dtype=") + dtype);
        arguments.push_back("--model.args.enable_weight_tying");
        arguments.push_back("--training.loss_chunks=2");
        arguments.push_back("--training.max_norm=1e-3");
        expect_rules(operators_of(arguments));
      }
    }
  }
}

}  // namespace
}  // namespace titan
