#include "titan/kernels/rms_norm.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/rms_norm.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "tests/support/tensors.h"
#include "tests/unit/kernels/reference_check.h"
#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

using test::random;
using test::Tensors;

constexpr double kEps = 1e-5;

at::Tensor ours(const Tensors& x) { return rms_norm(x[0], x[1], kEps); }
at::Tensor reference(const Tensors& x) { return at::rms_norm(x[0], x[1].sizes(), x[1], kEps); }

// Dims that are less than a vector, several vectors, and some with a rest; rows that fill no part of the weight's
// gradient, or several.
TEST(RmsNorm, EqualsItsFormulaInEveryDtype) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t dim : {2, 5, 64, 100, 259}) {
      for (const int64_t rows : {1, 7, 1100}) {
        test::expect_like_reference("rms_norm", ours, reference, {random({rows, dim}, 1) * 3, random({dim}, 2)}, dtype,
                                    3e-6);
      }
    }
    test::expect_like_reference("rms_norm of a vector", ours, reference, {random({33}, 1), random({33}, 2)}, dtype);
  }
}

TEST(RmsNorm, TakesAnyStrides) {
  for (const at::Tensor& x : {test::moved_outermost(random({3, 5, 40}, 1), 1), test::every_other(random({3, 5, 40}, 1)),
                              random({5, 40}, 1).unsqueeze(0).expand({3, 5, 40})}) {
    test::expect_like_reference("rms_norm", ours, reference, {x, test::every_other(random({40}, 2))}, at::kFloat);
  }
}

TEST(RmsNorm, ComputesInFp64AndOnTheMetaDevice) {
  const at::Tensor x = random({4, 6}, 1).to(at::kDouble), weight = random({6}, 2).to(at::kDouble);
  EXPECT_LE(test::relative_difference(ours({x, weight}), reference({x, weight})), 1e-15);
  const at::Tensor shape = rms_norm(at::empty({4, 0, 6}, at::device(at::kMeta).dtype(at::kBFloat16)),
                                    at::empty({6}, at::device(at::kMeta).dtype(at::kBFloat16)), kEps);
  EXPECT_EQ(shape.sizes(), (at::IntArrayRef{4, 0, 6}));
  EXPECT_EQ(shape.scalar_type(), at::kBFloat16);
}

TEST(RmsNorm, OfNothingIsNothing) {
  const at::Tensor x = at::zeros({0, 6}).set_requires_grad(true), weight = at::ones({6}).set_requires_grad(true);
  rms_norm(x, weight, kEps).sum().backward();
  EXPECT_EQ(x.grad().sizes(), x.sizes());
  EXPECT_TRUE(at::equal(weight.grad(), at::zeros({6})));
}

// What other devices run, and the loops' reference.
TEST(RmsNorm, CompositeIsTheSame) {
  const at::Tensor x = random({9, 37}, 1), weight = random({37}, 2), grad = random({9, 37}, 3);
  const auto [y, rstd] = rms_norm_cpu(x, weight, kEps);
  const auto [y_composite, rstd_composite] = rms_norm_composite(x, weight, kEps);
  EXPECT_LE(test::relative_difference(y, y_composite), 1e-6);
  EXPECT_LE(test::relative_difference(rstd, rstd_composite), 1e-6);
  const auto [grad_x, grad_weight] = rms_norm_backward_cpu(grad, x, weight, rstd);
  const auto [grad_x_composite, grad_weight_composite] = rms_norm_backward_composite(grad, x, weight, rstd);
  EXPECT_LE(test::relative_difference(grad_x, grad_x_composite), 1e-6);
  EXPECT_LE(test::relative_difference(grad_weight, grad_weight_composite), 1e-6);
}

TEST(RmsNorm, DoesNotDependOnTheNumberOfThreads) {
  const at::Tensor x = random({3001, 24}, 1), grad = random({3001, 24}, 2);
  const int num_threads = at::get_num_threads();
  std::vector<Tensors> results;
  for (const int threads : {1, 3}) {
    at::set_num_threads(threads);
    const at::Tensor input = x.clone().set_requires_grad(true), weight = at::ones({24}).set_requires_grad(true);
    const at::Tensor y = rms_norm(input, weight, kEps);
    y.backward(grad);
    results.push_back({y.detach(), input.grad(), weight.grad()});
  }
  at::set_num_threads(num_threads);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(results[0][i], results[1][i])) << i;
}

at::Tensor sum_and_norm(const Tensors& x) {
  const auto [sum, y] = rms_norm_of_sum(x[0], x[1], x[2], kEps);
  return at::cat({sum, y}, -1);
}
at::Tensor sum_and_norm_reference(const Tensors& x) {
  const at::Tensor sum = x[0] + x[1];
  return at::cat({sum, at::rms_norm(sum, x[2].sizes(), x[2], kEps)}, -1);
}

TEST(RmsNormOfSum, EqualsItsFormulaInEveryDtype) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t dim : {2, 64, 259}) {
      for (const int64_t rows : {1, 1100}) {
        test::expect_like_reference("rms_norm_of_sum", sum_and_norm, sum_and_norm_reference,
                                    {random({rows, dim}, 1) * 3, random({rows, dim}, 2), random({dim}, 3)}, dtype,
                                    3e-6);
      }
    }
  }
  test::expect_like_reference(
      "rms_norm_of_sum of strided tensors", sum_and_norm, sum_and_norm_reference,
      {test::moved_outermost(random({3, 5, 40}, 1), 1), test::every_other(random({3, 5, 40}, 2)), random({40}, 3)},
      at::kFloat);
}

// In fp32 down to the last bit, whichever of the two results has a gradient.
TEST(RmsNormOfSum, IsTheSumAndItsNorm) {
  for (const bool use_sum : {false, true}) {
    for (const bool use_norm : {false, true}) {
      if (!use_sum && !use_norm) continue;
      std::vector<Tensors> gradients;
      for (const bool fused : {false, true}) {
        const Tensors in{random({50, 37}, 1).set_requires_grad(true), random({50, 37}, 2).set_requires_grad(true),
                         random({37}, 3).set_requires_grad(true)};
        const at::Tensor plain_sum = in[0] + in[1];
        const auto [sum, y] =
            fused ? rms_norm_of_sum(in[0], in[1], in[2], kEps) : std::pair(plain_sum, rms_norm(plain_sum, in[2], kEps));
        at::Tensor total = at::zeros({});
        if (use_sum) total = total + (sum * random({50, 37}, 4)).sum();
        if (use_norm) total = total + (y * random({50, 37}, 5)).sum();
        total.backward();
        gradients.push_back({total.detach(), in[0].grad(), in[1].grad()});
        if (use_norm) gradients.back().push_back(in[2].grad());
        EXPECT_EQ(in[2].grad().defined(), use_norm);
      }
      for (size_t i = 0; i < gradients[0].size(); ++i) EXPECT_TRUE(at::equal(gradients[0][i], gradients[1][i])) << i;
    }
  }
}

TEST(RmsNormOfSum, CompositeIsTheSame) {
  const at::Tensor x = random({9, 37}, 1), delta = random({9, 37}, 2), weight = random({37}, 3);
  const auto [sum, y, rstd] = rms_norm_of_sum_cpu(x, delta, weight, kEps);
  const auto [sum_composite, y_composite, rstd_composite] = rms_norm_of_sum_composite(x, delta, weight, kEps);
  EXPECT_TRUE(at::equal(sum, sum_composite));
  EXPECT_LE(test::relative_difference(y, y_composite), 1e-6);
  EXPECT_LE(test::relative_difference(rstd, rstd_composite), 1e-6);
  const at::Tensor grad_sum = random({9, 37}, 4), grad = random({9, 37}, 5);
  const auto [grad_x, grad_weight] = rms_norm_of_sum_backward_cpu(grad_sum, grad, sum, weight, rstd);
  const auto [grad_x_composite, grad_weight_composite] =
      rms_norm_of_sum_backward_composite(grad_sum, grad, sum, weight, rstd);
  EXPECT_LE(test::relative_difference(grad_x, grad_x_composite), 1e-6);
  EXPECT_LE(test::relative_difference(grad_weight, grad_weight_composite), 1e-6);
}

TEST(RmsNorm, RefusesWhatDoesNotFitAndSecondDerivatives) {
  EXPECT_THROW(rms_norm(at::zeros({2, 4}), at::ones({3}), kEps), c10::ValueError);
  EXPECT_THROW(rms_norm(at::zeros({2, 4}), at::ones({1, 4}), kEps), c10::ValueError);
  EXPECT_THROW(rms_norm_of_sum(at::zeros({2, 4}), at::zeros({4}), at::ones({4}), kEps), c10::ValueError);
  const at::Tensor x = random({2, 4}, 1).set_requires_grad(true), y = rms_norm(x, at::ones({4}), kEps);
  EXPECT_THROW(torch::autograd::grad({y.sum()}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true),
               c10::NotImplementedError);
}

}  // namespace
}  // namespace titan::kernels
