// Tensor and sequence parallelism on a model of one's own: a plan, a table with one line a module, and what ranks then
// hold. Ranks are processes: `for r in 0 1; do RANK=$r WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29514
// build/examples/example_tensor_parallel & done; wait`; a last argument `async` lets communication overlap the
// products. See docs/tensor_parallel.md.
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <fmt/format.h>

#include <string_view>

#include "titan/distributed/collectives.h"
#include "titan/distributed/rank_info.h"
#include "titan/dtensor/dtensor.h"
#include "titan/nn/init.h"
#include "titan/nn/linear.h"
#include "titan/nn/rms_norm.h"
#include "titan/optim/adam.h"
#include "titan/parallel/tensor/parallelize_module.h"

using namespace titan;            // NOLINT(google-build-using-namespace): a program of one file
using namespace titan::parallel;  // NOLINT(google-build-using-namespace): the styles, which the table is made of

namespace {

constexpr int64_t kDim = 8, kHidden = 33, kSeq = 12;

// It knows no rank.
struct FeedForward : nn::Callable<FeedForward> {
  nn::Child<nn::Linear> up{this, "up", std::make_shared<nn::Linear>(kDim, kHidden, at::kFloat)};
  nn::Child<nn::Linear> gate{this, "gate", std::make_shared<nn::Linear>(kDim, kHidden, at::kFloat)};
  nn::Child<nn::Linear> down{this, "down", std::make_shared<nn::Linear>(kHidden, kDim, at::kFloat)};
  at::Tensor forward(const at::Tensor& x) { return down(up(x).relu() * gate(x)); }
};
struct Block : nn::Callable<Block> {
  nn::Child<nn::RMSNorm> norm{this, "norm", std::make_shared<nn::RMSNorm>(kDim, 1e-5, at::kFloat)};
  nn::Child<FeedForward> ffn{this, "ffn", std::make_shared<FeedForward>()};
  at::Tensor forward(const at::Tensor& x) { return x + ffn(norm(x)); }
};

// The sequence, dimension 1, is spread between modules and whole within the feed-forward, whose hidden features are
// spread.
std::vector<ModuleSharding> plan(bool async) {
  const auto sequence = dtensor::shard(1);
  std::vector<std::string> multiplied_meanwhile;
  if (async) multiplied_meanwhile = {"up", "gate"};
  return {sequence_parallel("norm", sequence, sequence),
          prepare_module_input("ffn", sequence, dtensor::replicate(), multiplied_meanwhile),  //
          colwise_parallel("ffn.up"), colwise_parallel("ffn.gate"), rowwise_parallel("ffn.down", sequence, async)};
}

}  // namespace

int main(int argc, char** argv) {
  const bool async = argc > 1 && std::string_view(argv[argc - 1]) == "async";
  auto world =
      std::make_shared<distributed::World>(distributed::rank_info_from_environment(), distributed::WorldOptions{});
  const distributed::DeviceMesh tp(world, {{"tp", world->size()}});
  if (kSeq % world->size() != 0) {
    fmt::print(stderr, "WORLD_SIZE: must divide the sequence ({}), got {}\n", kSeq, world->size());
    return 1;
  }

  // 1. Parameters become DTensors on the meta device, and calls are hooked.
  Block block;
  parallelize_module(block, tp, plan(async));
  // 2. Each rank allocates its part and draws its numbers: the same as on one device.
  block.to_empty(at::kCPU);
  for (nn::Parameter* parameter : block.parameters()) nn::Initializer(/*seed=*/0).normal(*parameter, 0.5, 0.3);
  optim::Adam optimizer(block.parameters(), {.weight_decay = 0});

  // 3. Learn y = 2x. All ranks see the same sample, each its part of the sequence.
  const int64_t part = kSeq / world->size();
  for (int64_t step = 1; step <= 200; ++step) {
    const at::Tensor ramp = at::ones({4, kSeq, kDim}).cumsum(1) / static_cast<double>(kSeq + step % 5);
    const at::Tensor x = ramp.narrow(1, world->rank() * part, part);
    optimizer.zero_grad();
    const at::Tensor loss = (block(x) - 2 * x).square().sum() / static_cast<double>(ramp.numel());
    loss.backward();
    optimizer.step(/*lr=*/1e-2);
    const at::Tensor total = distributed::all_reduce(loss.detach(), distributed::ReduceOp::kSum, *tp.group()).wait();
    if (world->rank() == 0 && step % 50 == 0) fmt::print("step {} loss {:.5f}\n", step, total.item<float>());
    if (step == 200 && total.item<float>() > 0.1) return 1;
  }
  for (const nn::Parameter* parameter : block.parameters()) {
    const at::Tensor& tensor = parameter->get();
    fmt::print("rank {} {}: {} of {} numbers, {}\n", world->rank(), parameter->fqn(), dtensor::local_of(tensor).numel(),
               tensor.numel(), dtensor::to_string(dtensor::placements_of(tensor)));
  }
  return 0;
}
