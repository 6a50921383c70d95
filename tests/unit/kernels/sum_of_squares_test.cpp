#include "titan/kernels/sum_of_squares.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"

namespace titan::kernels {
namespace {

using test::random;

TEST(SumOfSquares, IsExactOverDtypesShapesAndStrides) {
  const std::vector<at::Tensor> tensors{random({1021, 33}, 1),
                                        random({64, 33}, 2).t(),
                                        at::zeros({0, 4}),
                                        random({129}, 3).to(at::kBFloat16),
                                        random({7}, 4).to(at::kHalf),
                                        random({1}, 5).to(at::kDouble),
                                        random({9, 9}, 6).slice(1, 1, 8, 3)};
  double exact = 0;
  for (const at::Tensor& tensor : tensors) exact += tensor.to(at::kDouble).pow(2).sum().item<double>();
  const at::Tensor sum = sum_of_squares(tensors);
  EXPECT_EQ(sum.dim(), 0);
  EXPECT_EQ(sum.scalar_type(), at::kDouble);
  EXPECT_NEAR(sum.item<double>() / exact, 1.0, 1e-13);
}

TEST(SumOfSquares, OfNothingIsZero) {
  EXPECT_EQ(sum_of_squares({}).item<double>(), 0.0);
  EXPECT_EQ(sum_of_squares({at::zeros({0})}).item<double>(), 0.0);
}

TEST(SumOfSquares, DoesNotOverflowInFp32) {
  EXPECT_DOUBLE_EQ(sum_of_squares({at::full({2}, 1e30, at::kFloat)}).item<double>(),
                   2 * std::pow(static_cast<double>(1e30F), 2));
}

}  // namespace
}  // namespace titan::kernels
