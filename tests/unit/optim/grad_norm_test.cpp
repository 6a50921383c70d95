#include "titan/optim/grad_norm.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/tensors.h"
#include "titan/kernels/sum_of_squares.h"

namespace titan::optim {
namespace {

using test::random;

// Odd sizes, a strided view, bf16, an empty tensor; over a million elements, where fp32 sums drift.
std::vector<at::Tensor> gradients() {
  return {random({1021, 1027}, 1), random({3}, 2), random({64, 33}, 3).t(), random({129}, 4).to(at::kBFloat16),
          at::zeros({0, 4})};
}

double exact_norm(const std::vector<at::Tensor>& tensors) {
  double sum = 0;
  for (const at::Tensor& tensor : tensors) sum += tensor.to(at::kDouble).pow(2).sum().item<double>();
  return std::sqrt(sum);
}

double norm_of(const std::vector<at::Tensor>& tensors) { return global_norm(tensors).item<double>(); }

TEST(GlobalNorm, IsAccurateForManyElements) {
  const auto all = gradients();
  EXPECT_NEAR(norm_of(all) / exact_norm(all), 1.0, 1e-12);
}

TEST(GlobalNorm, DoesNotDependOnThreads) {
  const auto all = gradients();
  const double several = norm_of(all);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  EXPECT_EQ(norm_of(all), several);
  at::set_num_threads(threads);
}

TEST(GlobalNorm, ShowsNonFiniteGradients) {
  at::Tensor bad = random({100}, 1);
  bad[57] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(norm_of({random({5}, 2), bad})));
  bad[57] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isinf(norm_of({bad})));
}

TEST(ClipByNorm, ScalesDownToTheLimit) {
  auto all = gradients();
  clip_by_norm(all, global_norm(all), 0.5);
  EXPECT_NEAR(norm_of(all), 0.5, 1e-3);  // one tensor is bf16
}

TEST(ClipByNorm, LeavesSmallGradientsAlone) {
  const at::Tensor gradient = random({10}, 1);
  const at::Tensor before = gradient.clone();
  clip_by_norm({{gradient}}, global_norm({{gradient}}), 100.0);
  EXPECT_TRUE(at::equal(gradient, before));
  clip_by_norm({}, at::zeros({}, at::kDouble), 1.0);
}

}  // namespace
}  // namespace titan::optim
