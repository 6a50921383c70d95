#include "titan/parallel/mixed_precision.h"

#include <ATen/ops/linear.h>
#include <gtest/gtest.h>

#include "tests/support/tensors.h"
#include "titan/nn/feed_forward.h"
#include "titan/nn/init.h"

namespace titan::parallel {
namespace {

using test::random;

std::shared_ptr<nn::FeedForward> make() {
  auto module = std::make_shared<nn::FeedForward>(6, 10, at::kFloat);
  module->to_empty(at::kCPU);
  for (nn::Parameter* parameter : module->parameters()) nn::Initializer(1).normal(*parameter);
  return module;
}

TEST(MixedPrecision, ComputesInLowPrecisionAndKeepsFp32Parameters) {
  const auto module = make();
  apply_mixed_precision(*module, at::kBFloat16);
  at::ScalarType computed_with = at::kFloat;
  module->w1->register_forward_pre_hook(
      [&](nn::Module& w1, nn::Inputs) { computed_with = static_cast<nn::Linear&>(w1).weight.get().scalar_type(); });
  const at::Tensor y = (*module)(random({3, 6}, 1).to(at::kBFloat16));
  EXPECT_EQ(computed_with, at::kBFloat16);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  y.sum().backward();
  for (const nn::Parameter* parameter : module->parameters()) {
    EXPECT_EQ(parameter->get().scalar_type(), at::kFloat);
    EXPECT_EQ(parameter->get().grad().scalar_type(), at::kFloat);
  }
}

// What a bf16 model gives, forward and backward: the copies are exact casts.
TEST(MixedPrecision, EqualsAModelCastByHand) {
  const auto mixed = make(), cast = make();
  apply_mixed_precision(*mixed, at::kBFloat16);
  for (nn::Parameter* parameter : cast->parameters()) {
    parameter->set(parameter->get().detach().to(at::kBFloat16).set_requires_grad(true));
  }
  const at::Tensor x = random({3, 6}, 1).to(at::kBFloat16);
  const at::Tensor a = (*mixed)(x), b = (*cast)(x);
  EXPECT_TRUE(at::equal(a, b));
  a.sum().backward();
  b.sum().backward();
  EXPECT_TRUE(at::equal(mixed->w2->weight.get().grad(), cast->w2->weight.get().grad().to(at::kFloat)));
}

TEST(MixedPrecision, SmallGradientsAddUpInFp32) {
  const auto module = make();
  apply_mixed_precision(*module->w2, at::kBFloat16);
  const at::Tensor x = at::ones({1, 10}, at::kBFloat16);
  (*module->w2)(x).sum().backward();
  for (int i = 0; i < 100; ++i) ((*module->w2)(x)*0.001).sum().backward();
  // In bf16, 1 + 0.001 is 1.
  EXPECT_NEAR(module->w2->weight.get().grad()[0][0].item<double>(), 1.1, 1e-3);
}

}  // namespace
}  // namespace titan::parallel
