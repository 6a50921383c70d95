// Attention within documents against TorchTitan: tests/golden/llama3_documents says how the goldens were made.
// Tolerances as in CONTRIBUTING.md: losses 1e-5 relative, gradient norms 2e-4.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/run_program.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

using test::LoggedStep;

std::filesystem::path golden() { return test::tiny_golden().parent_path() / "llama3_documents"; }

std::vector<LoggedStep> golden_steps() {
  std::vector<LoggedStep> steps;
  std::ifstream lines(golden() / "losses.txt");
  for (LoggedStep step; lines >> step.step >> step.loss >> step.grad_norm;) steps.push_back(step);
  return steps;
}

// Ten steps by the program, from text to losses; on several ranks by `titan launch`.
std::vector<LoggedStep> train(const std::vector<std::string>& flags, int64_t num_ranks = 1) {
  const test::OutputFolder folder;
  std::vector<std::string> all{"--training.dataset_path=" + (golden() / "corpus").string(), "--checkpoint.enable",
                               "--checkpoint.load_only",
                               "--checkpoint.initial_load_path=" + (test::tiny_golden() / "seed.safetensors").string()};
  all.insert(all.end(), flags.begin(), flags.end());
  std::vector<std::string> job = test::tiny_job(TITAN_BINARY, folder.path(), all);
  const std::vector<std::string> launch{"launch", "--nproc-per-node", std::to_string(num_ranks), "--"};
  if (num_ranks > 1) job.insert(job.begin() + 1, launch.begin(), launch.end());
  const test::Finished finished = test::run_program(job);
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  return test::logged_steps(folder.path());
}

double largest_loss_difference(const std::vector<LoggedStep>& steps) {
  const auto golden = golden_steps();
  EXPECT_EQ(golden.size(), 10u);
  EXPECT_EQ(steps.size(), golden.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(steps.size(), golden.size()); ++i) {
    largest = std::max(largest, std::abs(steps[i].loss / golden[i].loss - 1));
  }
  return largest;
}

void expect_golden(const std::vector<LoggedStep>& steps) {
  EXPECT_LT(largest_loss_difference(steps), 1e-5);
  const auto golden = golden_steps();
  for (size_t i = 0; i < std::min(steps.size(), golden.size()); ++i) {
    EXPECT_LT(std::abs(steps[i].grad_norm / golden[i].grad_norm - 1), 2e-4) << "step " << i + 1;
  }
}

// Both of TorchTitan's names for it, and the argument alone.
TEST(Llama3Documents, TenStepsFollowTorchTitans) {
  expect_golden(train({"--model.flavor=debugmodel_varlen_attn"}));
  expect_golden(train({"--model.flavor=debugmodel_flex_attn"}));
  expect_golden(train({"--model.args.attn_mask_type=block_causal"}));
}

// Two ranks share each row, in the order that balances work and in the rows' own; rows of 48 tokens in pieces of 12.
TEST(Llama3Documents, SharedByTwoRanksTheLossesAreTheSame) {
  const std::vector<std::string> flags{"--model.args.attn_mask_type=block_causal",
                                       "--parallelism.context_parallel_degree=2",
                                       "--parallelism.context_parallel_rotate_method=alltoall"};
  expect_golden(train(flags, 2));
  std::vector<std::string> in_order = flags;
  in_order.emplace_back("--parallelism.context_parallel_load_balancer=None");
  expect_golden(train(in_order, 2));
}

// On a dataset of its own, rows of another length: 40 tokens.
TEST(Llama3Documents, ValidationOnSharedRowsIsTheSame) {
  const auto validation_losses = [](const std::vector<std::string>& flags, int64_t num_ranks) {
    const test::OutputFolder folder;
    std::vector<std::string> all{"--model.args.attn_mask_type=block_causal",
                                 "--training.steps=2",
                                 "--validation.enable",
                                 "--validation.dataset=c4_test",
                                 "--validation.dataset_path=" + (golden() / "corpus").string(),
                                 "--validation.seq_len=40",
                                 "--validation.local_batch_size=3",
                                 "--validation.steps=-1",
                                 "--validation.freq=2"};
    all.insert(all.end(), flags.begin(), flags.end());
    std::vector<std::string> job = test::tiny_job(TITAN_BINARY, folder.path(), all);
    const std::vector<std::string> launch{"launch", "--nproc-per-node", std::to_string(num_ranks), "--"};
    if (num_ranks > 1) job.insert(job.begin() + 1, launch.begin(), launch.end());
    const test::Finished finished = test::run_program(job);
    EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
    std::vector<double> losses;
    std::ifstream lines(folder.path() / "metrics" / "metrics.jsonl");
    for (std::string line; std::getline(lines, line);) {
      const auto metrics = nlohmann::json::parse(line);
      if (metrics.contains("validation_metrics/loss")) losses.push_back(metrics.at("validation_metrics/loss"));
    }
    return losses;
  };
  const auto alone = validation_losses({}, 1);
  const auto shared = validation_losses({"--parallelism.context_parallel_degree=2"}, 2);
  ASSERT_EQ(alone.size(), 2u);
  ASSERT_EQ(shared.size(), 2u);
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_LT(std::abs(shared[i] / alone[i] - 1), 1e-6);
}

// The goldens tell documents apart: without the mask the losses are others.
TEST(Llama3Documents, WithoutTheMaskTheLossesAreOthers) { EXPECT_GT(largest_loss_difference(train({})), 1e-4); }

}  // namespace
}  // namespace titan
