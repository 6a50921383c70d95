#include "titan/nn/init.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/tensors.h"
#include "titan/kernels/philox.h"
#include "titan/nn/linear.h"

namespace titan::nn {
namespace {

// The known answers that Random123 1.14 ships for philox4x32 with 10 rounds (kat_vectors).
TEST(Philox, GivesTheKnownAnswers) {
  using kernels::philox_4x32_10;
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox_4x32_10({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox_4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox_4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

std::shared_ptr<ModuleList<Linear>> make_linears() {
  auto list = std::make_shared<ModuleList<Linear>>();
  list->append(std::make_shared<Linear>(37, 1001, at::kFloat));
  list->append(std::make_shared<Linear>(37, 1001, at::kFloat));
  list->to_empty(at::kCPU);
  return list;
}

TEST(Initializer, NumbersDependOnSeedAndNameOnly) {
  const auto a = make_linears(), b = make_linears();
  Initializer(7).normal((*a)[0]->weight);
  Initializer(7).normal((*a)[1]->weight);
  Initializer(7).normal((*b)[1]->weight);  // another order
  Initializer(7).normal((*b)[0]->weight);
  EXPECT_TRUE(at::equal((*a)[0]->weight.get(), (*b)[0]->weight.get()));
  EXPECT_TRUE(at::equal((*a)[1]->weight.get(), (*b)[1]->weight.get()));
  EXPECT_FALSE(at::equal((*a)[0]->weight.get(), (*a)[1]->weight.get()));
  Initializer(8).normal((*b)[0]->weight);
  EXPECT_FALSE(at::equal((*a)[0]->weight.get(), (*b)[0]->weight.get()));
}

TEST(Initializer, NumbersDoNotDependOnThreads) {
  const auto a = make_linears(), b = make_linears();
  const int threads = at::get_num_threads();
  Initializer(7).normal((*a)[0]->weight);
  at::set_num_threads(1);
  Initializer(7).normal((*b)[0]->weight);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal((*a)[0]->weight.get(), (*b)[0]->weight.get()));
}

// 37037 values: standard errors are 0.005 of the mean and 0.004 of the deviation.
TEST(Initializer, NormalHasItsMoments) {
  const auto list = make_linears();
  Initializer(1).normal((*list)[0]->weight, 0.5, 2.0);
  const at::Tensor w = (*list)[0]->weight.get().detach().to(at::kDouble);
  EXPECT_NEAR(w.mean().item<double>(), 0.5, 0.05);
  EXPECT_NEAR(w.std().item<double>(), 2.0, 0.04);
  const at::Tensor z = (w - 0.5) / 2.0;
  EXPECT_NEAR((z.abs() < 1).to(at::kDouble).mean().item<double>(), 0.6827, 0.012);
  EXPECT_NEAR((z.pow(4)).mean().item<double>(), 3.0, 0.25);
}

TEST(Initializer, TruncatedNormalStaysWithinAbsoluteBounds) {
  const auto list = make_linears();
  Initializer(1).trunc_normal((*list)[0]->weight, 0.0, 1.0, -1.5, 1.0);
  const at::Tensor w = (*list)[0]->weight.get().detach();
  EXPECT_GE(w.min().item<double>(), -1.5);
  EXPECT_LE(w.max().item<double>(), 1.0);
  EXPECT_LT(w.min().item<double>(), -1.45);
  EXPECT_GT(w.max().item<double>(), 0.97);
  // Mean of the truncated normal: (phi(-1.5) - phi(1)) / (Phi(1) - Phi(-1.5)).
  EXPECT_NEAR(w.mean().item<double>(), (0.129518 - 0.241971) / (0.841345 - 0.066807), 0.015);
}

TEST(Initializer, RefusesTensorsOnMeta) {
  Linear linear(2, 2, at::kFloat);
  EXPECT_THROW(Initializer(0).normal(linear.weight), c10::Error);
}

}  // namespace
}  // namespace titan::nn
