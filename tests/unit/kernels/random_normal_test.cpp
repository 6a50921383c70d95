#include "titan/kernels/random_normal.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"

namespace titan::kernels {
namespace {

TEST(RandomNormal, FillsAnyStridesInTheOrderOfElements) {
  const at::Tensor contiguous = at::zeros({5, 7}), strided = at::zeros({7, 5}).t();
  random_normal_(contiguous, {.seed = 3, .stream = 4});
  random_normal_(strided, {.seed = 3, .stream = 4});
  EXPECT_TRUE(at::equal(contiguous, strided));
  EXPECT_FALSE(strided.is_contiguous());
}

TEST(RandomNormal, AShorterTensorIsABeginning) {
  const at::Tensor longer = at::zeros({1001}), shorter = at::zeros({37});
  random_normal_(longer, {.seed = 3});
  random_normal_(shorter, {.seed = 3});
  EXPECT_TRUE(at::equal(longer.narrow(0, 0, 37), shorter));
}

TEST(RandomNormal, LowerPrecisionIsTheRoundedNumber) {
  const at::Tensor x = at::zeros({33}), rounded = at::zeros({33}, at::kBFloat16);
  random_normal_(x, {.seed = 3, .mean = 1, .std = 2, .low = 0, .high = 2});
  random_normal_(rounded, {.seed = 3, .mean = 1, .std = 2, .low = 0, .high = 2});
  EXPECT_TRUE(at::equal(x.to(at::kBFloat16), rounded));
}

// Blocks that cut every dimension, at offsets that are no multiples of the four numbers drawn together.
TEST(RandomNormal, ABlockIsAPartOfTheWhole) {
  const at::Tensor whole = at::zeros({5, 7, 3});
  random_normal_(whole, {.seed = 3});
  for (const int64_t row : {0, 1, 4}) {
    for (const int64_t column : {0, 3}) {
      for (const int64_t depth : {0, 2}) {
        const at::Tensor block = at::zeros({5 - row, 2, 3 - depth});
        random_normal_(block, {.seed = 3}, {.whole = {5, 7, 3}, .offsets = {row, column, depth}});
        const at::Tensor expected = whole.narrow(0, row, 5 - row).narrow(1, column, 2).narrow(2, depth, 3 - depth);
        EXPECT_TRUE(at::equal(block, expected)) << row << " " << column << " " << depth;
      }
    }
  }
  EXPECT_THROW(random_normal_(at::zeros({2, 7, 3}), {}, {.whole = {5, 7, 3}, .offsets = {4, 0, 0}}), c10::ValueError);
  EXPECT_THROW(random_normal_(at::zeros({2, 7}), {}, {.whole = {5, 7, 3}, .offsets = {0, 0}}), c10::ValueError);
}

TEST(RandomNormal, EmptyTensorsAreFine) {
  random_normal_(at::zeros({0, 3}), {});
  random_normal_(at::zeros({0, 3}), {}, {.whole = {5, 3}, .offsets = {5, 0}});
}

// Phi(-1.96) = 0.0249979; the inverse of a distribution function inverts it.
TEST(NormalDistribution, InverseInverts) {
  EXPECT_NEAR(normal_cdf(-1.96), 0.0249979, 1e-7);
  for (const double p : {1e-7, 0.02, 0.03, 0.4, 0.5, 0.77, 0.98, 1 - 1e-7}) {
    EXPECT_NEAR(normal_cdf(inverse_normal_cdf(p)) / p, 1.0, 1e-7) << p;
  }
}

}  // namespace
}  // namespace titan::kernels
