// Tensor parallel styles on two layers and a norm, against one device. Whole models: tests/fault/verify_test.cpp.
#include "titan/parallel/tensor/parallelize_module.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/dtensor/dtensor.h"
#include "titan/nn/init.h"
#include "titan/nn/linear.h"
#include "titan/nn/rms_norm.h"

namespace titan::parallel {
namespace {

using dtensor::replicate;
using dtensor::shard;
using test::random;
using test::relative_difference;
using World = std::shared_ptr<distributed::World>;

// x + down(tanh(up(norm(x)))), with biases; `spare` may be absent.
struct Block : nn::Callable<Block> {
  nn::Child<nn::RMSNorm> norm{this, "norm", std::make_shared<nn::RMSNorm>(6, 1e-5, at::kFloat)};
  nn::Child<nn::Linear> up{this, "up", std::make_shared<nn::Linear>(6, 5, at::kFloat, true)};
  nn::Child<nn::Linear> down{this, "down", std::make_shared<nn::Linear>(5, 6, at::kFloat, true)};
  nn::Child<nn::Linear> spare{this, "spare", nullptr};
  at::Tensor forward(const at::Tensor& x) { return x + down(up(norm(x)).tanh()); }
  void initialise() {
    to_empty(at::kCPU);
    for (nn::Parameter* parameter : parameters()) nn::Initializer(1).normal(*parameter, 0.1, 0.4);
  }
};

std::vector<ModuleSharding> plan(const dtensor::Placement& residual) {
  return {sequence_parallel("norm", residual, residual), colwise_parallel("up", residual),
          rowwise_parallel("down", residual), colwise_parallel("spare")};
}

// Over the sequence (12 tokens) and with whole sequences; the gradient of the input too. 5 hidden features over 2 to 4
// ranks: uneven, and none on the last of 4.
TEST(ParallelizeModule, ForwardAndBackwardAreThoseOfOneDevice) {
  Block whole;
  whole.initialise();
  at::Tensor x = random({2, 12, 6}, 3);
  x.set_requires_grad(true);
  const at::Tensor expected = whole(x);
  expected.square().sum().backward();

  for (const int64_t num_ranks : {2, 3, 4}) {
    for (const dtensor::Placement& residual : {shard(1), replicate()}) {
      test::run_ranks(num_ranks, "shm", [&](const World& world) {
        const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"tp", num_ranks}}));
        Block block;
        parallelize_module(block, mesh, plan(residual));
        block.initialise();
        const int64_t most = (5 + num_ranks - 1) / num_ranks, num_left = 5 - most * world->rank();
        const int64_t num_own = std::clamp<int64_t>(num_left, 0, most);
        EXPECT_EQ(dtensor::local_of(block.up->weight.get()).size(0), num_own);
        EXPECT_EQ(dtensor::local_of(block.down->weight.get()).size(1), num_own);

        const at::Tensor input = dtensor::distribute_tensor(x.detach(), mesh, {residual});
        at::Tensor local = dtensor::local_of(input).detach().clone();
        local.set_requires_grad(true);
        const at::Tensor output = block(local);
        ASSERT_FALSE(dtensor::is_dtensor(output));
        const auto full = [&](const at::Tensor& part) {
          return dtensor::full_tensor(dtensor::from_local(part.detach(), mesh, {residual}));
        };
        EXPECT_LT(relative_difference(full(output), expected.detach()), 1e-6);
        output.square().sum().backward();
        EXPECT_LT(relative_difference(full(local.grad()), x.grad()), 1e-6);
        for (size_t i = 0; i < whole.parameters().size(); ++i) {
          EXPECT_LT(relative_difference(dtensor::full_tensor(block.parameters()[i]->get().grad()),
                                        whole.parameters()[i]->get().grad()),
                    1e-6)
              << whole.parameters()[i]->fqn();
        }
      });
    }
  }
}

TEST(ParallelizeModule, WhatThePlanForgetsIsOurMistake) {
  test::run_ranks(2, "shm", [](const World& world) {
    const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"tp", 2}}));
    Block block;
    EXPECT_THROW(parallelize_module(block, mesh, {{.fqn = "up", .parameters = {{"weight", shard(0)}}}}), c10::Error);
    EXPECT_THROW(parallelize_module(block, mesh, {colwise_parallel("sideways")}), c10::Error);
  });
}

}  // namespace
}  // namespace titan::parallel
