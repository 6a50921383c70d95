// FSDP on a model of one's own: three layers, each a unit, sharded over the ranks. Ranks are processes: `for r in 0 1;
// do RANK=$r WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29513 build/examples/example_fully_shard & done; wait`.
// See docs/fsdp.md.
#include "titan/parallel/fsdp/fully_shard.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <fmt/format.h>

#include "titan/distributed/collectives.h"
#include "titan/distributed/rank_info.h"
#include "titan/nn/init.h"
#include "titan/nn/linear.h"
#include "titan/optim/adam.h"

using namespace titan;  // NOLINT(google-build-using-namespace): a program of one file

namespace {

struct Model : nn::Callable<Model> {
  nn::Child<nn::Linear> in{this, "in", std::make_shared<nn::Linear>(8, 33, at::kFloat)};
  nn::Child<nn::Linear> middle{this, "middle", std::make_shared<nn::Linear>(33, 33, at::kFloat)};
  nn::Child<nn::Linear> out{this, "out", std::make_shared<nn::Linear>(33, 1, at::kFloat)};
  at::Tensor forward(const at::Tensor& x) { return out(middle(in(x).relu()).relu()); }
};

}  // namespace

int main() {
  auto world =
      std::make_shared<distributed::World>(distributed::rank_info_from_environment(), distributed::WorldOptions{});
  const distributed::DeviceMesh mesh(world, {{"dp_shard", world->size()}});

  // 1. Nothing is allocated yet: parameters are on the meta device, and become DTensors there.
  Model model;
  parallel::FullyShard fsdp({{.modules = {model.in.module()}},
                             {.modules = {model.middle.module()}},
                             {.modules = {model.out.module()}, .reshard_after_forward = false}},
                            mesh);
  // 2. Each rank allocates its shard and draws its numbers: the same as on one device.
  model.to_empty(at::kCPU);
  for (nn::Parameter* parameter : model.parameters()) nn::Initializer(/*seed=*/0).normal(*parameter, 0.0, 0.2);
  optim::Adam optimizer(model.parameters(), {.weight_decay = 0});

  // 3. Learn y = sum(x) from other samples on each rank.
  for (int64_t step = 1; step <= 200; ++step) {
    const at::Tensor x = at::ones({16, 8}) * static_cast<double>((step * world->size() + world->rank()) % 7 - 3) / 8;
    optimizer.zero_grad();
    fsdp.before_microbatch(/*last=*/true);
    const at::Tensor loss = (model(x) - x.sum(1, /*keepdim=*/true)).square().sum() / (16.0 * world->size());
    loss.backward();
    fsdp.finish();
    optimizer.step(/*lr=*/3e-3);
    const at::Tensor total = distributed::all_reduce(loss.detach(), distributed::ReduceOp::kSum, *mesh.group()).wait();
    if (world->rank() == 0 && step % 50 == 0) fmt::print("step {} loss {:.5f}\n", step, total.item<float>());
    if (step == 200 && total.item<float>() > 0.05) return 1;
  }
  fmt::print("rank {} holds {} of {} rows of middle.weight\n", world->rank(),
             dtensor::local_of(model.middle->weight.get()).size(0), model.middle->weight.get().size(0));
  return 0;
}
