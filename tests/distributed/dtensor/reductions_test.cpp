// Reductions at every placement, against plain tensors. Shards of 5 over 3 ranks are uneven, of 1 mostly empty.
#include <ATen/TensorOperators.h>
#include <ATen/ops/all.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/any.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/max.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/var.h>
#include <gtest/gtest.h>

#include "tests/distributed/dtensor/meshes.h"
#include "tests/distributed/dtensor/operator_check.h"
#include "tests/support/tensors.h"

namespace titan::test {
namespace {

TEST(DTensorReductions, SumsMeansAndNormsEqualThePlainOnes) {
  on_meshes([](const dtensor::Mesh& mesh) {
    for (const Tensors& x : {Tensors{random({5, 4}, 1)}, Tensors{random({1, 3, 2}, 2)}}) {
      check_operator(
          "sum", [](const Tensors& x) { return Tensors{at::sum(x[0])}; }, x, mesh);
      check_operator(
          "sum over dim", [](const Tensors& x) { return Tensors{at::sum(x[0], {0})}; }, x, mesh);
      check_operator(
          "sum keepdim", [](const Tensors& x) { return Tensors{at::sum(x[0], {-1}, true)}; }, x, mesh);
      check_operator(
          "mean", [](const Tensors& x) { return Tensors{at::mean(x[0])}; }, x, mesh);
      check_operator(
          "mean over dims",
          [](const Tensors& x) {
            return Tensors{at::mean(x[0], at::IntArrayRef{0, 1}, true)};
          },
          x, mesh);
      check_operator(
          "var", [](const Tensors& x) { return Tensors{at::var(x[0], {1})}; }, {random({5, 4}, 1)}, mesh);
      check_operator(
          "logsumexp", [](const Tensors& x) { return Tensors{at::logsumexp(x[0], {1})}; }, x, mesh);
      check_operator(
          "cumsum", [](const Tensors& x) { return Tensors{at::cumsum(x[0], 1)}; }, x, mesh);
      for (const double order : {1.0, 2.0, 3.0, std::numeric_limits<double>::infinity()}) {
        check_operator(
            "norm", [=](const Tensors& x) { return Tensors{at::linalg_vector_norm(x[0], order)}; }, x, mesh);
        check_operator(
            "norm over dim",
            [=](const Tensors& x) { return Tensors{at::linalg_vector_norm(x[0], order, at::IntArrayRef{0})}; }, x,
            mesh);
      }
    }
  });
}

TEST(DTensorReductions, ExtremaEqualThePlainOnes) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const Tensors x{random({5, 4}, 1)};
    check_operator(
        "max", [](const Tensors& x) { return Tensors{at::max(x[0])}; }, x, mesh);
    check_operator(
        "amax", [](const Tensors& x) { return Tensors{at::amax(x[0], {0})}; }, x, mesh);
    check_operator(
        "amin",
        [](const Tensors& x) {
          return Tensors{at::amin(x[0], {0, 1}, true)};
        },
        x, mesh);
    check_operator(
        "argmax", [](const Tensors& x) { return Tensors{at::argmax(x[0], 1)}; }, x, mesh);
    check_operator(
        "any and all",
        [](const Tensors& x) {
          return Tensors{at::any(x[0] > 1), at::all(x[0] > -3, 0)};
        },
        x, mesh);
    const Tensors integers{at::arange(5, at::kLong)};
    check_operator(
        "max of integers",
        [](const Tensors& x) {
          return Tensors{at::max(x[0]), at::amin(x[0])};
        },
        integers, mesh);
  });
}

// Their formulas put gradients into zeros of the plain kind, were the wrapper no tensor subclass.
TEST(DTensorReductions, GradientsOfMaxTopkAndSortAreDTensors) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const Tensors x{random({5, 4}, 1)};
    check_operator(
        "max", [](const Tensors& x) { return Tensors{std::get<0>(at::max(x[0], 0))}; }, x, mesh);
    check_operator(
        "topk",
        [](const Tensors& x) {
          const auto [values, indices] = at::topk(x[0], 2, 1);
          return Tensors{values, indices};
        },
        x, mesh);
    check_operator(
        "sort",
        [](const Tensors& x) {
          const auto [values, indices] = at::sort(x[0], 0, true);
          return Tensors{values, indices};
        },
        x, mesh);
  });
}

}  // namespace
}  // namespace titan::test
