#include "titan/kernels/swiglu.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "tests/support/tensors.h"
#include "tests/unit/kernels/reference_check.h"
#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

using test::random;
using test::Tensors;

at::Tensor ours(const Tensors& x) { return swiglu(x[0], x[1]); }
at::Tensor reference(const Tensors& x) { return at::silu(x[0]) * x[1]; }

TEST(Swiglu, EqualsItsFormulaInEveryDtype) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t size : {1, 31, 32, 33, 70001}) {
      test::expect_like_reference("swiglu", ours, reference, {random({size}, 1) * 3, random({size}, 2)}, dtype);
    }
  }
}

TEST(Swiglu, TakesAnyStrides) {
  const at::Tensor gate = random({3, 5, 9}, 1), up = random({3, 5, 9}, 2);
  test::expect_like_reference("swiglu", ours, reference, {test::moved_outermost(gate, 1), test::every_other(up)},
                              at::kFloat);
  test::expect_like_reference("swiglu", ours, reference, {gate.narrow(2, 0, 4), up.narrow(2, 5, 4)}, at::kBFloat16);
}

TEST(Swiglu, IsFiniteWhereTheExponentialIsNot) {
  const at::Tensor gate = at::tensor({-1000.0F, -90.0F, 0.0F, 90.0F, 1000.0F}).set_requires_grad(true);
  const at::Tensor y = swiglu(gate, at::ones({5}));
  EXPECT_TRUE(at::equal(y.detach(), at::tensor({0.0F, 0.0F, 0.0F, 90.0F, 1000.0F})));
  y.sum().backward();
  EXPECT_TRUE(at::equal(gate.grad(), at::tensor({0.0F, 0.0F, 0.5F, 1.0F, 1.0F})));
}

TEST(Swiglu, CompositeIsTheSame) {
  const at::Tensor gate = random({9, 7}, 1), up = random({9, 7}, 2), grad = random({9, 7}, 3);
  EXPECT_LE(test::relative_difference(swiglu_cpu(gate, up), swiglu_composite(gate, up)), 1e-6);
  const auto [of_gate, of_up] = swiglu_backward_cpu(grad, gate, up);
  const auto [of_gate_composite, of_up_composite] = swiglu_backward_composite(grad, gate, up);
  EXPECT_LE(test::relative_difference(of_gate, of_gate_composite), 1e-6);
  EXPECT_LE(test::relative_difference(of_up, of_up_composite), 1e-6);
}

TEST(Swiglu, OfNothingIsNothingAndOfTwoShapesAnError) {
  EXPECT_EQ(swiglu(at::zeros({0, 3}), at::zeros({0, 3})).sizes(), (at::IntArrayRef{0, 3}));
  EXPECT_EQ(swiglu(at::empty({2, 3}, at::kMeta), at::empty({2, 3}, at::kMeta)).sizes(), (at::IntArrayRef{2, 3}));
  EXPECT_THROW(swiglu(at::zeros({2, 3}), at::zeros({3})), c10::ValueError);
  EXPECT_THROW(swiglu(at::zeros({3}), at::zeros({3}, at::kBFloat16)), c10::ValueError);
}

}  // namespace
}  // namespace titan::kernels
