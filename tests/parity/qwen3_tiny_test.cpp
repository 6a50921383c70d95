// A tiny Qwen 3 against TorchTitan and `transformers`: tests/golden/qwen3_tiny says how the goldens were made. The
// weights are read from the checkpoint that transformers wrote. Tolerances as for the tiny Llama 3.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "tests/support/run_program.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_job.h"
#include "titan/checkpoint/tensor_reader.h"
#include "titan/loss/cross_entropy.h"
#include "titan/models/qwen3/model.h"
#include "titan/models/qwen3/state_dict.h"

namespace titan {
namespace {

using test::LoggedStep;
using test::relative_difference;

constexpr int64_t kSeq = 48;

models::qwen3::Config tiny_config() {
  models::qwen3::Config config = *models::qwen3::config_of("debugmodel");
  models::DecoderSizes& sizes = config.sizes;
  sizes.dim = 20;
  sizes.n_layers = 2;
  sizes.n_heads = 6;
  sizes.n_kv_heads = 2;
  sizes.head_dim = 8;
  sizes.ffn_hidden_dim = 44;
  sizes.vocab_size = 320;
  return config;
}

std::filesystem::path weights() { return test::tiny_qwen3_golden() / "hf" / "model.safetensors"; }

std::unique_ptr<models::qwen3::Transformer> seeded_model() {
  auto model = std::make_unique<models::qwen3::Transformer>(tiny_config(), kSeq, at::kFloat);
  model->to_empty(at::kCPU);
  model->init_weights(nn::Initializer(0));
  at::NoGradGuard no_grad;
  const auto format = models::qwen3::hugging_face_format(tiny_config());
  const auto theirs = checkpoint::open_tensors(weights());
  EXPECT_EQ(theirs->tensors().size(), model->parameters().size());
  for (const nn::Parameter* parameter : model->parameters()) {
    const std::string fqn = parameter->fqn();
    parameter->get().copy_(format.from_foreign(fqn, theirs->read(format.to_name(fqn).value())));
  }
  return model;
}

// [batch, seq + 1] of step 1.
at::Tensor rows() {
  return checkpoint::open_tensors(test::tiny_golden() / "tokens.safetensors")->read("tokens")[0].to(at::kLong);
}

TEST(Qwen3Tiny, LogitsAreTransformers) {
  const auto model = seeded_model();
  const auto golden = checkpoint::open_tensors(test::tiny_qwen3_golden() / "transformers.safetensors");
  at::NoGradGuard no_grad;
  const at::Tensor logits = model->output((*model)(rows().narrow(0, 0, 1).narrow(1, 0, kSeq)))[0];
  EXPECT_LT(relative_difference(logits, golden->read("logits")), 2e-6);
}

TEST(Qwen3Tiny, GradientsAreTorchTitansAndTransformers) {
  const auto model = seeded_model();
  const at::Tensor labels = rows().narrow(1, 1, kSeq);
  loss::chunked_cross_entropy((*model)(rows().narrow(1, 0, kSeq)), labels, *model->output,
                              1.0 / static_cast<double>(labels.numel()), /*num_chunks=*/5)
      .backward();
  const auto torchtitan = checkpoint::open_tensors(test::tiny_qwen3_golden() / "grads_step1.safetensors");
  const auto transformers = checkpoint::open_tensors(test::tiny_qwen3_golden() / "transformers.safetensors");
  const auto format = models::qwen3::hugging_face_format(tiny_config());
  ASSERT_EQ(model->parameters().size(), torchtitan->tensors().size());
  for (const nn::Parameter* parameter : model->parameters()) {
    const std::string fqn = parameter->fqn();
    const at::Tensor gradient = parameter->get().grad();
    EXPECT_LT(relative_difference(gradient, torchtitan->read(fqn)), 2e-6) << fqn;
    EXPECT_LT(relative_difference(format.to_foreign(fqn, gradient),
                                  transformers->read("grad." + format.to_name(fqn).value())),
              2e-6)
        << fqn;
  }
}

// Trains by the program from transformers' checkpoint; on several ranks by `titan launch`.
std::vector<LoggedStep> train(std::vector<std::string> flags, int64_t num_ranks = 1) {
  const test::OutputFolder folder;
  flags.insert(flags.end(), {"--checkpoint.enable", "--checkpoint.load_only", "--checkpoint.initial_load_in_hf",
                             "--checkpoint.initial_load_path=" + weights().parent_path().string()});
  std::vector<std::string> job = test::tiny_qwen3_job(TITAN_BINARY, folder.path(), flags);
  const std::vector<std::string> launch{"launch", "--nproc-per-node", std::to_string(num_ranks), "--"};
  if (num_ranks > 1) job.insert(job.begin() + 1, launch.begin(), launch.end());
  const test::Finished finished = test::run_program(job);
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  return test::logged_steps(folder.path());
}

void expect_torchtitans(const std::vector<LoggedStep>& steps) {
  std::vector<LoggedStep> golden;
  std::ifstream lines(test::tiny_qwen3_golden() / "losses.txt");
  for (LoggedStep step; lines >> step.step >> step.loss >> step.grad_norm;) golden.push_back(step);
  ASSERT_EQ(golden.size(), 10u);
  ASSERT_EQ(steps.size(), golden.size());
  for (size_t i = 0; i < golden.size(); ++i) {
    EXPECT_LT(std::abs(steps[i].loss / golden[i].loss - 1), 1e-5) << "step " << i + 1;
    EXPECT_LT(std::abs(steps[i].grad_norm / golden[i].grad_norm - 1), 2e-4) << "step " << i + 1;
  }
}

TEST(Qwen3Tiny, TenStepsFollowTorchTitan) { expect_torchtitans(train({})); }

// The gradients of q_norm and k_norm are terms on each rank, which the norm must sum before it squares.
TEST(Qwen3Tiny, TensorParallelTheStepsAreTheSame) {
  expect_torchtitans(train({"--parallelism.tensor_parallel_degree=2"}, 2));
}

}  // namespace
}  // namespace titan
