// A product of matrices over four ranks, forward and backward, with the weight sharded: what tensor parallelism is made
// of. Ranks are processes: `for r in 0 1 2 3; do RANK=$r WORLD_SIZE=4 MASTER_ADDR=127.0.0.1 MASTER_PORT=29512
// build/examples/example_dtensor & done; wait`. See docs/dtensor.md.
#include "titan/dtensor/dtensor.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include "titan/distributed/rank_info.h"

int main() {
  using namespace titan;  // NOLINT(google-build-using-namespace): a program of one file
  auto world =
      std::make_shared<distributed::World>(distributed::rank_info_from_environment(), distributed::WorldOptions{});
  const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"dp", 1}, {"tp", world->size()}}));

  // 1. The same tensors on every rank: distribute_tensor sends what the first rank has.
  const at::Tensor x = dtensor::distribute_tensor(at::randn({4, 8}), mesh, {dtensor::shard(0), dtensor::replicate()});
  const at::Tensor w1 = dtensor::distribute_tensor(at::randn({16, 8}), mesh, {dtensor::replicate(), dtensor::shard(0)});
  const at::Tensor w2 = dtensor::distribute_tensor(at::randn({8, 16}), mesh, {dtensor::replicate(), dtensor::shard(1)});
  w1.set_requires_grad(true);
  w2.set_requires_grad(true);

  // 2. Column by column, then row by row (Megatron-LM): one reduction, at the end.
  const at::Tensor h = at::linear(x, w1).relu();
  const at::Tensor terms = at::linear(h, w2);
  const at::Tensor y = dtensor::redistribute(terms, {dtensor::shard(0), dtensor::replicate()});
  y.square().sum().backward();

  // 3. The same on one device.
  const at::Tensor whole = at::linear(at::linear(dtensor::full_tensor(x), dtensor::full_tensor(w1).detach()).relu(),
                                      dtensor::full_tensor(w2).detach());
  const bool equal = at::allclose(dtensor::full_tensor(y).detach(), whole, 1e-4, 1e-4);
  if (world->rank() == 0) {
    fmt::print("hidden {}, terms {}, result {}\ngradient of w1 {}\n", to_string(dtensor::spec_of(h)),
               to_string(dtensor::placements_of(terms)), to_string(dtensor::placements_of(y)),
               to_string(dtensor::placements_of(w1.grad())));
    fmt::print("{} to one device's\n", equal ? "equal" : "not equal");
  }
  return equal ? 0 : 1;
}
