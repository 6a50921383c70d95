#include "titan/kernels/matrix_product.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mm_cpu_dispatch.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/tensors.h"
#include "titan/kernels/cpu/matrix_unit.h"

namespace titan::kernels {
namespace {

using test::random;

// On CPUs without a matrix unit the tests see ATen's products, and there is nothing to tell from ATen's.
class MatrixProduct : public testing::Test {
 protected:
  void SetUp() override { use_matrix_unit_for_fp32(true); }
  void TearDown() override { use_matrix_unit_for_fp32(false); }
};

double error_of(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor exact = at::mm(a.to(at::kDouble), b.to(at::kDouble));
  return ((c.to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
}

struct Size {
  int64_t m, k, n;
};

void expect_as_exact_as_aten(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(takes_matrix_unit(a, b), cpu::has_matrix_unit());
  const double ours = error_of(mm_cpu(a, b), a, b), aten = error_of(at::cpu::mm(a, b), a, b);
  EXPECT_LE(ours, aten * 1.01) << a.sizes() << " " << a.strides() << " x " << b.sizes() << " " << b.strides();
}

TEST_F(MatrixProduct, IsAtLeastAsExactAsATens) {
  for (const Size& s : {Size{256, 256, 256}, Size{1000, 77, 45}, Size{33, 2000, 37}, Size{129, 1025, 2049},
                        Size{64, 4096, 32}, Size{4096, 32, 33}}) {
    const at::Tensor x = random({s.m, s.k}, 1), w = random({s.n, s.k}, 2), grad = random({s.m, s.n}, 3);
    expect_as_exact_as_aten(x, w.t());
    expect_as_exact_as_aten(grad, w);
    expect_as_exact_as_aten(grad.t(), x);
    expect_as_exact_as_aten(x.t(), grad);
  }
}

// Elements over eighty binary orders of magnitude, and sums in which nearly everything cancels. Here a result may be
// one product's, and who rounds it how often is luck: of the sum of magnitudes, errors stay below six units of fp32,
// which ATen's reach too.
TEST_F(MatrixProduct, StaysExactOverOrdersOfMagnitude) {
  const auto largest_error = [](const at::Tensor& a, const at::Tensor& b) {
    const at::Tensor a64 = a.to(at::kDouble), b64 = b.to(at::kDouble);
    const at::Tensor error = (mm_cpu(a, b).to(at::kDouble) - at::mm(a64, b64)).abs();
    return (error / at::mm(a64.abs(), b64.abs())).max().item<double>();
  };
  const at::Tensor a = random({200, 300}, 1) * at::exp(random({200, 300}, 2) * 9);
  const at::Tensor b = random({300, 100}, 3) * at::exp(random({300, 100}, 4) * 9);
  constexpr double kLimit = 6 * std::numeric_limits<float>::epsilon();
  EXPECT_LE(largest_error(a, b), kLimit);
  EXPECT_LE(largest_error(a * 1e-15, b * 1e-10), kLimit);
  EXPECT_LE(largest_error(at::cat({a, a}, 1), at::cat({b, -b + 1e-6 * random({300, 100}, 5)}, 0)), kLimit);
}

TEST_F(MatrixProduct, TakesPartsOfOtherMatricesAndWritesIntoThem) {
  const at::Tensor whole = random({300, 400}, 1), w = random({400, 200}, 2);
  const at::Tensor a = whole.narrow(1, 7, 200), b = w.narrow(0, 3, 200).narrow(1, 5, 150);
  expect_as_exact_as_aten(a, b);
  const at::Tensor big = at::full({310, 170}, 7.0F);
  at::Tensor out = big.narrow(0, 5, 300).narrow(1, 9, 150);
  mm_out_cpu(a, b, out);
  EXPECT_TRUE(at::equal(out, mm_cpu(a, b)));
  out.fill_(7.0F);
  EXPECT_TRUE(at::equal(big, at::full_like(big, 7.0F))) << "wrote beside";
}

TEST_F(MatrixProduct, DependsOnNoThreadsAndNoOtherRows) {
  const at::Tensor a = random({515, 700}, 1), b = random({700, 333}, 2);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor by_one = mm_cpu(a, b);
  for (const int num_threads : {2, 3, 4, 6}) {
    at::set_num_threads(num_threads);
    EXPECT_TRUE(at::equal(mm_cpu(a, b), by_one)) << num_threads;
  }
  at::set_num_threads(threads);
  if (!cpu::has_matrix_unit()) GTEST_SKIP() << "whether ATen's rows depend on others is ATen's matter";
  EXPECT_TRUE(at::equal(mm_cpu(a.narrow(0, 100, 101), b), by_one.narrow(0, 100, 101)));
}

TEST_F(MatrixProduct, IsNotFiniteWhereFp32IsNot) {
  const float infinity = std::numeric_limits<float>::infinity();
  const at::Tensor a = random({128, 128}, 1), b = random({128, 128}, 2);
  a[3][5] = infinity;
  a[4][6] = std::nanf("");
  b[8][9] = -infinity;
  EXPECT_TRUE(at::equal(mm_cpu(a, b).isfinite(), at::cpu::mm(a, b).isfinite()));
}

TEST_F(MatrixProduct, IsWhatATensMmCalls) {
  const at::Tensor a = random({256, 256}, 1), b = random({256, 256}, 2);
  EXPECT_TRUE(at::equal(at::mm(a, b), mm_cpu(a, b)));
  if (!cpu::has_matrix_unit()) return;
  const at::Tensor with_unit = at::mm(a, b);
  use_matrix_unit_for_fp32(false);
  EXPECT_FALSE(at::equal(at::mm(a, b), with_unit));
  EXPECT_TRUE(at::equal(at::mm(a, b), at::cpu::mm(a, b)));
}

TEST_F(MatrixProduct, LeavesTheRestToATen) {
  const at::Tensor a = random({256, 256}, 1);
  EXPECT_FALSE(takes_matrix_unit(a.to(at::kDouble), a.to(at::kDouble)));
  EXPECT_FALSE(takes_matrix_unit(a.to(at::kBFloat16), a.to(at::kBFloat16)));
  EXPECT_FALSE(takes_matrix_unit(a.narrow(0, 0, 16), a));
  const at::Tensor spread = random({512, 512}, 2).slice(0, 0, 512, 2).slice(1, 0, 512, 2);
  EXPECT_FALSE(takes_matrix_unit(spread, a));
  EXPECT_TRUE(at::equal(mm_cpu(spread, a), at::cpu::mm(spread, a)));
  EXPECT_ANY_THROW(mm_cpu(a, a.narrow(0, 0, 200)));
}

}  // namespace
}  // namespace titan::kernels
