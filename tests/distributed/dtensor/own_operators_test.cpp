// Operators of ours on DTensors.
#include <gtest/gtest.h>

#include "tests/distributed/dtensor/meshes.h"
#include "tests/distributed/dtensor/operator_check.h"
#include "tests/support/tensors.h"
#include "titan/dtensor/dtensor.h"
#include "titan/kernels/random_normal.h"
#include "titan/kernels/rms_norm.h"

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
  });
}

}  // namespace
}  // namespace titan::test
