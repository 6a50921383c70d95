// Activations that wait in host memory: the same bits, one copy of each tensor, back before they are asked for. On a
// CPU the copies are made only because the test asks for them.
#include "titan/activation_checkpoint/offload.h"

#include <gtest/gtest.h>

#include "tests/unit/activation_checkpoint/block.h"

namespace titan::activation_checkpoint {
namespace {

std::vector<nn::Module*> modules_of(test::Blocks& blocks) {
  std::vector<nn::Module*> modules;
  for (int64_t i = 0; i < blocks.layers->size(); ++i) modules.push_back((*blocks.layers)[i].module());
  return modules;
}

std::vector<at::Tensor> gradients_of(test::Blocks& blocks) {
  const at::Tensor x = test::random({2, 5, 24}, 100).set_requires_grad(true);
  blocks(x, nn::precompute_freqs_cis(8, 5, 10000, {}, at::kCPU)).square().sum().backward();
  std::vector<at::Tensor> gradients{x.grad()};
  for (nn::Parameter* parameter : blocks.parameters()) gradients.push_back(parameter->get().grad());
  return gradients;
}

TEST(Offload, GivesTheSameBits) {
  test::Blocks plain(4), blocks(4);
  const auto counts = offload_activations(modules_of(blocks), {.min_bytes = 1, .copies_on_cpu = true});
  const auto expected = gradients_of(plain), actual = gradients_of(blocks);
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_TRUE(at::equal(actual[i], expected[i])) << i;
  // Three blocks; the last one's activations stay. The third is asked first, the others come back while it is at work.
  EXPECT_EQ(counts->num_tensors % 3, 0);
  EXPECT_GT(counts->num_tensors, 3 * 8);
  EXPECT_EQ(counts->num_ahead, 2);
}

// Each tensor goes once, whoever keeps it: the normed input is kept by wq, wk and wv.
TEST(Offload, CopiesATensorOnce) {
  test::Blocks blocks(2);
  const auto counts = offload_activations(modules_of(blocks), {.min_bytes = 1, .copies_on_cpu = true});
  gradients_of(blocks);
  const int64_t tokens = 10;
  // As in CountsWhatThePlainForwardKeeps of memory_budget_test.cpp: fewer than twice what must be kept.
  EXPECT_LE(counts->num_bytes, 2 * tokens * 4 * (24 + 24 + 24 + 8 + 8 + 24 + 3 + 24 + 3 * 40));
}

TEST(Offload, LeavesSmallTensorsAndThoseOnACpuWhereTheyAre) {
  test::Blocks small(2), on_cpu(2);
  const auto of_small = offload_activations(modules_of(small), {.min_bytes = 1 << 20, .copies_on_cpu = true});
  const auto of_cpu = offload_activations(modules_of(on_cpu));
  gradients_of(small);
  gradients_of(on_cpu);
  EXPECT_EQ(of_small->num_tensors, 0);
  EXPECT_EQ(of_cpu->num_tensors, 0);
}

TEST(Offload, NothingIsCopiedWithoutGradients) {
  test::Blocks blocks(2);
  const auto counts = offload_activations(modules_of(blocks), {.min_bytes = 1, .copies_on_cpu = true});
  const at::NoGradGuard no_grad;
  blocks(test::random({2, 5, 24}, 1), nn::precompute_freqs_cis(8, 5, 10000, {}, at::kCPU));
  EXPECT_EQ(counts->num_tensors, 0);
}

}  // namespace
}  // namespace titan::activation_checkpoint
