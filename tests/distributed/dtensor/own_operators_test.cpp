// Operators of ours on DTensors.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/polar.h>
#include <gtest/gtest.h>

#include "tests/distributed/dtensor/meshes.h"
#include "tests/distributed/dtensor/operator_check.h"
#include "tests/support/tensors.h"
#include "titan/dtensor/dtensor.h"
#include "titan/kernels/cross_entropy.h"
#include "titan/kernels/random_normal.h"
#include "titan/kernels/rms_norm.h"
#include "titan/kernels/rotary.h"
#include "titan/kernels/swiglu.h"

namespace titan::test {
namespace {

using dtensor::Placements;
using dtensor::replicate;
using dtensor::shard;
using dtensor::strided_shard;

TEST(DTensorOwnOperators, RandomNumbersDoNotDependOnThePlacement) {
  const at::Tensor plain = at::zeros({7, 5});
  kernels::random_normal_(plain, {.seed = 3, .stream = 8});
  on_meshes([&](const dtensor::Mesh& mesh) {
    const bool two_axes = mesh.num_axes() == 2;
    const std::vector<Placements> layouts =
        two_axes ? std::vector<Placements>{{shard(0), shard(1)},
                                           {shard(0), shard(0)},
                                           {strided_shard(0, mesh.size(1)), shard(0)},
                                           {replicate(), shard(1)}}
                 : std::vector<Placements>{{shard(0)}, {shard(1)}, {replicate()}, {strided_shard(1, 2)}};
    for (const Placements& layout : layouts) {
      const at::Tensor x = dtensor::distribute_tensor(at::zeros({7, 5}), mesh, layout);
      kernels::random_normal_(x, {.seed = 3, .stream = 8});
      EXPECT_TRUE(at::equal(dtensor::full_tensor(x), plain)) << layout;
    }
  });
}

TEST(DTensorOwnOperators, NormsEqualThePlainOnes) {
  on_meshes([](const dtensor::Mesh& mesh) {
    check_operator("rms_norm", [](const Tensors& x) { return Tensors{kernels::rms_norm(x[0], x[1], 1e-5)}; },
                   {random({3, 5, 4}, 1), random({4}, 2)}, mesh, {.tolerance = 1e-4});
    check_operator("rms_norm_of_sum",
                   [](const Tensors& x) {
                     const auto [sum, y] = kernels::rms_norm_of_sum(x[0], x[1], x[2], 1e-5);
                     return Tensors{sum, y};
                   },
                   {random({3, 5, 4}, 1), random({3, 5, 4}, 2), random({4}, 3)}, mesh, {.tolerance = 1e-4});
  });
}

TEST(DTensorOwnOperators, PartsOfBlocksEqualThePlainOnes) {
  on_meshes([](const dtensor::Mesh& mesh) {
    check_operator(
        "swiglu", [](const Tensors& x) { return Tensors{kernels::swiglu(x[0], x[1])}; },
        {random({3, 5}, 1), random({3, 5}, 2)}, mesh);
    const at::Tensor turns = at::polar(at::ones({5, 2}), random({5, 2}, 3));
    check_operator(
        "rotary",
        [](const Tensors& x) { return Tensors{kernels::rotary(x[0], x[1], kernels::RotaryPairs::kNeighbours)}; },
        {random({2, 5, 3, 4}, 1), turns}, mesh);
  });
}

TEST(DTensorOwnOperators, LossesOfRowsEqualThePlainOnes) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const at::Tensor labels = at::arange(5, at::kLong).masked_fill(at::arange(5, at::kLong).eq(3), -100);
    const kernels::LogitColumns columns{.vocabulary = 7, .ignore_index = -100};
    const at::Tensor logits = random({5, 7}, 1);
    const kernels::LogitRows expected = kernels::logit_rows(logits, labels, columns);
    const at::Tensor gradient = logits.clone();
    kernels::logit_gradient_(gradient, labels, expected.largest, expected.sum, columns, 0.5);
    for (const dtensor::Placement& placement : {shard(0), replicate()}) {
      const Placements layout(mesh.num_axes(), placement);
      const at::Tensor spread = dtensor::distribute_tensor(logits.clone(), mesh, layout);
      const at::Tensor spread_labels = dtensor::distribute_tensor(labels, mesh, layout);
      const kernels::LogitRows rows = kernels::logit_rows(spread, spread_labels, columns);
      EXPECT_TRUE(at::equal(dtensor::full_tensor(rows.sum), expected.sum)) << layout;
      EXPECT_TRUE(at::equal(dtensor::full_tensor(rows.label_logit), expected.label_logit)) << layout;
      kernels::logit_gradient_(spread, spread_labels, rows.largest, rows.sum, columns, 0.5);
      EXPECT_TRUE(at::equal(dtensor::full_tensor(spread), gradient)) << layout;
    }
  });
}

}  // namespace
}  // namespace titan::test
