// Norm, clipping and Adam where parameters and gradients are DTensors.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/dtensor/dtensor.h"
#include "titan/nn/linear.h"
#include "titan/optim/adam.h"
#include "titan/optim/grad_norm.h"

namespace titan::optim {
namespace {

using distributed::DeviceMesh;
using dtensor::Placements;
using dtensor::replicate;
using dtensor::shard;
using test::random;
using test::relative_difference;
using World = std::shared_ptr<distributed::World>;

// Every placement at once, on two meshes: over two axes, over one, plain; terms of a sum and of an average.
TEST(ShardedGradients, CountOnceInTheNorm) {
  const at::Tensor x = random({7, 5}, 1);
  const double norm_of_one = std::sqrt(x.to(at::kDouble).pow(2).sum().item<double>());
  test::run_ranks(6, "shm", [&](const World& world) {
    const DeviceMesh whole(world, {{"dp", 2}, {"tp", 3}});
    const auto placed = [&](const dtensor::Mesh& mesh, const Placements& placements) {
      return dtensor::distribute_tensor(x, mesh, placements);
    };
    const dtensor::Mesh two(whole), one(whole.slice("tp"));
    const std::vector<at::Tensor> gradients{placed(two, {shard(0), shard(1)}),
                                            placed(two, {shard(0), shard(0)}),
                                            placed(two, {replicate(), shard(1)}),
                                            placed(two, {replicate(), replicate()}),
                                            placed(two, {dtensor::partial(), shard(0)}),
                                            placed(one, {shard(0)}),
                                            placed(one, {dtensor::partial(distributed::ReduceOp::kAvg)}),
                                            x.clone()};
    for (const at::Tensor& gradient : gradients) {
      EXPECT_NEAR(global_norm({{gradient}}).item<double>() / norm_of_one, 1.0, 1e-6);
    }
    const at::Tensor norm = global_norm(gradients);
    EXPECT_NEAR(norm.item<double>() / (std::sqrt(8.0) * norm_of_one), 1.0, 1e-6);

    clip_by_norm(gradients, norm, 0.5);
    EXPECT_NEAR(global_norm(gradients).item<double>(), 0.5, 1e-5);
  });
}

struct Model : nn::Module {
  nn::Child<nn::Linear> a{this, "a", std::make_shared<nn::Linear>(5, 7, at::kFloat)};
};

// 7 rows over 8 ranks: one rank has none.
TEST(ShardedAdam, StepsAsOnOneDevice) {
  for (const Implementation implementation :
       {Implementation::kFused, Implementation::kForeach, Implementation::kForLoop}) {
    Model whole;
    whole.to_empty(at::kCPU);
    whole.a->weight.set(random({7, 5}, 3).set_requires_grad(true));
    Adam expected(whole.parameters(), {.implementation = implementation});
    for (uint64_t step = 0; step < 3; ++step) {
      whole.a->weight.get().mutable_grad() = random({7, 5}, 20 + step);
      expected.step(0.1);
    }
    test::run_ranks(8, "shm", [&](const World& world) {
      const dtensor::Mesh mesh(DeviceMesh(world, {{"dp_shard", 8}}));
      Model model;
      model.a->weight.set(dtensor::distribute_tensor(random({7, 5}, 3), mesh, {shard(0)}).set_requires_grad(true));
      Adam optimizer(model.parameters(), {.implementation = implementation});
      for (uint64_t step = 0; step < 3; ++step) {
        // The second one comes placed otherwise.
        const Placements placements{step == 1 ? replicate() : shard(0)};
        model.a->weight.get().mutable_grad() = dtensor::distribute_tensor(random({7, 5}, 20 + step), mesh, placements);
        optimizer.step(0.1);
      }
      // Not bit-equal: where a tensor ends, vectorised kernels round otherwise than within it.
      EXPECT_LT(relative_difference(dtensor::full_tensor(model.a->weight.get().detach()), whole.a->weight.get()), 1e-7);
      const auto state = optimizer.state();
      EXPECT_LT(relative_difference(dtensor::full_tensor(state.at("state.a.weight.exp_avg_sq")),
                                    expected.state().at("state.a.weight.exp_avg_sq")),
                1e-7);
    });
  }
}

}  // namespace
}  // namespace titan::optim
