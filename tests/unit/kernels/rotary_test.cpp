#include "titan/kernels/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/imag.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/polar.h>
#include <ATen/ops/real.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include "tests/support/tensors.h"
#include "tests/unit/kernels/reference_check.h"
#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

using test::random;
using test::Tensors;

at::Tensor turns_of(const at::Tensor& angles) { return at::polar(at::ones_like(angles), angles); }

// [seq, 1, pairs]
at::Tensor cosines(const at::Tensor& turns, const at::Tensor& x) { return at::real(turns).unsqueeze(1).to(x.dtype()); }
at::Tensor sines(const at::Tensor& turns, const at::Tensor& x) { return at::imag(turns).unsqueeze(1).to(x.dtype()); }

// In real numbers, so that no convention of complex ones is shared with what is tested.
at::Tensor reference(const at::Tensor& x, const at::Tensor& table, RotaryPairs pairs) {
  const bool halves = pairs == RotaryPairs::kHalves;
  const int64_t half = x.size(3) / 2;
  const at::Tensor turns = table.narrow(0, 0, x.size(1)), c = cosines(turns, x), s = sines(turns, x);
  const at::Tensor a = halves ? x.narrow(3, 0, half) : x.slice(3, 0, std::nullopt, 2);
  const at::Tensor b = halves ? x.narrow(3, half, half) : x.slice(3, 1, std::nullopt, 2);
  const at::Tensor turned = at::stack({a * c - b * s, a * s + b * c}, halves ? 3 : 4);
  return turned.flatten(3);
}

// Heads of less than a vector and of more than a block; a table of more positions than the sequence has.
TEST(Rotary, EqualsItsFormulaInEveryDtypeAndConvention) {
  for (const RotaryPairs pairs : {RotaryPairs::kNeighbours, RotaryPairs::kHalves}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (const int64_t head_dim : {2, 6, 16, 128, 522}) {
        const at::Tensor turns = turns_of(random({9, head_dim / 2}, 2) * 3);
        test::expect_like_reference(
            "rotary", [&](const Tensors& x) { return rotary(x[0], turns, pairs); },
            [&](const Tensors& x) { return reference(x[0], turns, pairs); }, {random({2, 7, 3, head_dim}, 1)}, dtype);
      }
    }
  }
}

TEST(Rotary, TakesAnyStrides) {
  const at::Tensor turns = turns_of(random({7, 5}, 2)), x = random({2, 7, 3, 10}, 1);
  for (const RotaryPairs pairs : {RotaryPairs::kNeighbours, RotaryPairs::kHalves}) {
    for (const at::Tensor& strided : {test::moved_outermost(x, 2), test::every_other(x), x.narrow(2, 1, 2)}) {
      test::expect_like_reference(
          "rotary", [&](const Tensors& x) { return rotary(x[0], turns, pairs); },
          [&](const Tensors& x) { return reference(x[0], turns, pairs); }, {strided}, at::kFloat);
    }
  }
}

// Two rows of documents that begin in other places: each row's turns are its own, also where rows are not contiguous.
TEST(Rotary, TurnsOfEachTokenAreThoseOfItsPosition) {
  const at::Tensor table = turns_of(random({9, 5}, 2)), x = random({2, 7, 3, 10}, 1);
  const at::Tensor positions = at::randint(9, {2, 7}, at::kLong), turns = table.index({positions});
  for (const RotaryPairs pairs : {RotaryPairs::kNeighbours, RotaryPairs::kHalves}) {
    for (const at::Tensor& some : {x.clone(), test::moved_outermost(x, 2)}) {
      test::expect_like_reference(
          "rotary", [&](const Tensors& x) { return rotary(x[0], turns, pairs); },
          [&](const Tensors& x) {
            return at::cat(
                {reference(x[0].narrow(0, 0, 1), turns[0], pairs), reference(x[0].narrow(0, 1, 1), turns[1], pairs)});
          },
          {some}, at::kFloat);
    }
    EXPECT_TRUE(at::equal(rotary(x, table.narrow(0, 0, 7).expand({2, 7, 5}), pairs), rotary(x, table, pairs)));
  }
}

TEST(Rotary, CompositeIsTheSame) {
  const at::Tensor turns = turns_of(random({7, 5}, 2)), x = random({2, 7, 3, 10}, 1);
  for (const bool halves : {false, true}) {
    for (const bool back : {false, true}) {
      for (const at::Tensor& by : {turns, turns_of(random({2, 7, 5}, 3))}) {
        const at::Tensor y = rotary_cpu(x, by, halves, back), composite = rotary_composite(x, by, halves, back);
        EXPECT_LE(test::relative_difference(y, composite), 1e-6);
        EXPECT_EQ(y.strides(), composite.strides());
      }
    }
  }
}

TEST(Rotary, RefusesWhatDoesNotFit) {
  const at::Tensor turns = turns_of(random({7, 5}, 2));
  EXPECT_EQ(rotary(at::zeros({0, 7, 3, 10}), turns, RotaryPairs::kHalves).numel(), 0);
  EXPECT_THROW(rotary(at::zeros({2, 8, 3, 10}), turns, RotaryPairs::kHalves), c10::ValueError);
  EXPECT_THROW(rotary(at::zeros({2, 7, 3, 12}), turns, RotaryPairs::kHalves), c10::ValueError);
  EXPECT_THROW(rotary(at::zeros({2, 7, 10}), turns, RotaryPairs::kHalves), c10::ValueError);
  EXPECT_THROW(rotary(at::zeros({2, 7, 3, 10}), at::zeros({7, 5}), RotaryPairs::kHalves), c10::ValueError);
  EXPECT_THROW(rotary(at::zeros({3, 7, 3, 10}), turns.expand({2, 7, 5}), RotaryPairs::kHalves), c10::ValueError);
  EXPECT_THROW(rotary(at::zeros({2, 6, 3, 10}), turns.expand({2, 7, 5}), RotaryPairs::kHalves), c10::ValueError);
}

}  // namespace
}  // namespace titan::kernels
