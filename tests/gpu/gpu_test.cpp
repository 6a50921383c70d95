// What only a GPU can show. Every test skips where there is none. The program under test is the one beside this one
// (TITAN_BINARY of the build, or of scripts/run_on_gpu), and the CPU of the same machine is the reference.
#include <c10/core/DeviceGuard.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "cli/job.h"
#include "tests/support/run_program.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_job.h"
#include "titan/device/compute_device.h"
#include "titan/kernels/attention.h"
#include "titan/kernels/random_normal.h"
#include "titan/kernels/sum_of_squares.h"
#include "titan/train/trainer.h"

namespace titan {
namespace {

using test::random;

device::ComputeDevice compute;

class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    if (compute.device.is_cpu()) GTEST_SKIP() << "there is no GPU that can be used";
  }
  static at::Tensor there(const at::Tensor& x) { return x.to(compute.device); }
};

std::string program() { return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "titan").string(); }

test::Finished train_on(const std::string& device, const std::filesystem::path& dump_folder,
                        const std::vector<std::string>& flags) {
  return test::run_program(test::tiny_job(program(), dump_folder, flags), {.environment = {{"TITAN_DEVICE", device}}});
}

std::vector<test::LoggedStep> losses_on(const std::string& device, const std::vector<std::string>& flags) {
  const test::OutputFolder folder;
  const auto finished = train_on(device, folder.path(), flags);
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  return test::logged_steps(folder.path());
}

// --- kernels ---

// More tensors than one launch takes, odd sizes, views that start anywhere, several chunks.
TEST_F(Gpu, SumOfSquaresIsTheCpus) {
  std::vector<at::Tensor> host{random({1021, 1027}, 1),
                               random({64, 33}, 2).t(),
                               random({129}, 3).to(at::kBFloat16),
                               random({9, 9}, 4).slice(1, 1, 8, 3),
                               at::zeros({0, 4}),
                               random({70001}, 5).narrow(0, 1, 70000).to(at::kHalf),
                               random({3}, 6).to(at::kDouble)};
  for (uint64_t i = 0; i < 200; ++i) host.push_back(random({static_cast<int64_t>(i % 7 + 1)}, 100 + i));
  std::vector<at::Tensor> device;
  for (const at::Tensor& tensor : host) device.push_back(there(tensor));
  device.push_back(there(random({1000}, 7)).narrow(0, 3, 900));  // not aligned to 16 bytes
  host.push_back(random({1000}, 7).narrow(0, 3, 900));
  const double expected = kernels::sum_of_squares(host).item<double>();
  const double first = kernels::sum_of_squares(device).item<double>();
  EXPECT_NEAR(first / expected, 1.0, 1e-13);
  EXPECT_EQ(kernels::sum_of_squares(device).item<double>(), first);
}

TEST_F(Gpu, RandomNumbersAreTheCpus) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
    const at::Tensor host = at::zeros({1023, 517}, dtype), device = there(host);
    const kernels::RandomNormal distribution{.seed = 5, .stream = 9, .mean = 0.1, .std = 0.7, .low = -1.4, .high = 1};
    kernels::random_normal_(host, distribution);
    kernels::random_normal_(device, distribution);
    EXPECT_LT(test::relative_difference(device.cpu(), host), dtype == at::kBFloat16 ? 1e-5 : 1e-7) << dtype;
  }
}

// --- training ---

void expect_close(const std::vector<test::LoggedStep>& a, const std::vector<test::LoggedStep>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  ASSERT_FALSE(a.empty());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i].loss / b[i].loss, 1.0, tolerance) << "step " << a[i].step;
}

// Masks that ATen's kernels know, with grouped heads, documents by segments and without (which they do not know), and
// blocks of context parallelism. The CPU computes in fp32.
TEST_F(Gpu, AttentionIsTheCpus) {
  at::Tensor starts = at::zeros({2, 96}, at::kLong);
  starts[1].narrow(0, 40, 56).fill_(40);
  at::Tensor reached = at::full({2, 40}, 96, at::kLong);  // by documents that begin at key 30, and after all
  reached[0].narrow(0, 0, 17).fill_(30);
  for (const auto& [mask, num_queries] : std::vector<std::pair<kernels::AttentionMask, int64_t>>{
           {{.is_causal = true}, 96},
           {{}, 40},
           {{.is_causal = true, .window = 7}, 96},
           {{.is_causal = true, .first_key = starts}, 96},
           {{.is_causal = true, .first_key = starts, .segments = kernels::document_segments(starts)}, 96},
           {{.is_causal = true, .window = 7, .first_key = starts, .segments = kernels::document_segments(starts)}, 96},
           {{.first_key = reached, .segments = kernels::reaching_segments(reached, 96)}, 40}}) {
    const auto run = [&, mask = mask, num_queries = num_queries](at::Device device, at::ScalarType dtype) {
      std::vector<at::Tensor> leaves;
      for (const auto& [heads, seed] : {std::pair{4, 1}, {2, 2}, {2, 3}}) {
        const int64_t length = seed == 1 ? num_queries : 96;
        const at::Tensor x = random({2, length + 1, heads, 32}, seed).to(at::kBFloat16).to(device, dtype);
        leaves.push_back(x.narrow(1, 1, length).detach().set_requires_grad(true));
      }
      kernels::AttentionMask there = mask;
      if (mask.first_key.defined()) there.first_key = mask.first_key.to(device);
      if (mask.segments.defined()) {
        there.segments.query_starts = mask.segments.query_starts.to(device);
        there.segments.key_starts = mask.segments.key_starts.to(device);
      }
      std::vector<at::Tensor> results{kernels::attention(leaves[0], leaves[1], leaves[2], there)};
      results[0].backward(random(results[0].sizes(), 4).to(at::kBFloat16).to(device, dtype));
      for (const at::Tensor& leaf : leaves) results.push_back(leaf.grad());
      return results;
    };
    const auto found = run(compute.device, at::kBFloat16), expected = run(at::kCPU, at::kFloat);
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_LT(test::relative_difference(found[i].cpu(), expected[i].detach()), 0.01) << i << " " << num_queries;
    }
  }
}

TEST_F(Gpu, LossesAreTheCpusInFp32) {
  const std::vector<std::string> flags{"--training.mixed_precision_param=float32"};
  expect_close(losses_on("cuda", flags), losses_on("cpu", flags), 1e-5);
}

// bf16 has 8 bits: the loss of either is within 2^-8 of fp32's, and here a mean over many tokens.
TEST_F(Gpu, LossesAreTheCpusInBf16) {
  const auto exact = losses_on("cpu", {"--training.mixed_precision_param=float32"});
  const std::vector<std::vector<std::string>> kinds{{"--training.mixed_precision_param=bfloat16"},
                                                    {"--training.dtype=bfloat16"}};
  for (const auto& flags : kinds) {
    const auto cpu = losses_on("cpu", flags);
    double difference = 0;
    for (size_t i = 0; i < exact.size(); ++i)
      difference = std::max(difference, std::abs(cpu[i].loss / exact[i].loss - 1));
    expect_close(losses_on("cuda", flags), exact, std::max(1.5 * difference, 1e-3));
  }
}

TEST_F(Gpu, DeterministicRunsAreBitEqual) {
  const std::vector<std::string> flags{"--debug.deterministic", "--training.mixed_precision_param=bfloat16"};
  const auto first = losses_on("cuda", flags), second = losses_on("cuda", flags);
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].loss, second[i].loss);
    EXPECT_EQ(first[i].grad_norm, second[i].grad_norm);
  }
}

TEST_F(Gpu, OutOfMemoryIsOneLineWithTheLargestHolders) {
  const test::OutputFolder folder;
  const auto finished =
      train_on("cuda", folder.path(),
               {"--training.local_batch_size=512", "--training.global_batch_size=512", "--training.seq_len=131072",
                "--model.args.max_seq_len=131072", "--training.loss_chunks=1", "--training.steps=1"});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_NE(finished.err.find("step 1: out of memory on " + compute.name + ": "), std::string::npos) << finished.err;
  EXPECT_NE(finished.err.find("activations and temporaries"), std::string::npos) << finished.err;
  EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
}

TEST_F(Gpu, AStepThatIsNotFiniteEndsTheRunWithoutAnUpdate) {
  const test::OutputFolder folder;
  const auto finished = train_on("cuda", folder.path(), {"--optimizer.lr=1e38", "--lr_scheduler.warmup_steps=0"});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_NE(finished.err.find("; stopped before the optimizer step."), std::string::npos) << finished.err;
}

// Nor where attention stops at documents, of which the host alone knows how many there are.
TEST_F(Gpu, AStepDoesNotMakeTheHostWait) {
  for (const char* const flavor : {"debugmodel", "debugmodel_varlen_attn"}) {
    const test::OutputFolder folder;
    std::vector<std::string> flags = test::tiny_job(
        program(), folder.path(), {"--training.dtype=bfloat16", std::string("--model.flavor=") + flavor});
    flags.erase(flags.begin(), flags.begin() + 2);  // program, verb
    config::Problems problems;
    config::Reading reading = config::read(flags, problems);
    const models::ModelSpec& spec = cli::check_job(reading, /*world_size=*/1, problems);
    train::Trainer trainer(reading.config, spec, cli::make_world(reading.config, {}, compute), compute);
    trainer.step();
    compute.forbid_synchronisation(true);
    EXPECT_NO_THROW(trainer.step());
    EXPECT_ANY_THROW(there(at::ones({1})).item<float>());  // the check itself works
    compute.forbid_synchronisation(false);
  }
}

}  // namespace
}  // namespace titan

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  titan::compute = titan::device::open_compute_device(/*local_rank=*/0, /*local_world_size=*/1);  // before any tensor
  return RUN_ALL_TESTS();
}
