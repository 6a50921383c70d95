// A pipeline of one's own: four layers as stages, two on each of two ranks, under a zero-bubble schedule. Ranks are
// processes: `for r in 0 1; do RANK=$r WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29515
// build/examples/example_pipeline & done; wait`. See docs/pipeline_parallel.md.
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "titan/distributed/collectives.h"
#include "titan/distributed/rank_info.h"
#include "titan/distributed/world.h"
#include "titan/nn/init.h"
#include "titan/nn/linear.h"
#include "titan/nn/weight_gradient_queue.h"
#include "titan/optim/adam.h"
#include "titan/parallel/pipeline/runtime.h"
#include "titan/parallel/pipeline/schedule/lower.h"
#include "titan/parallel/pipeline/schedule/registry.h"

using namespace titan;  // NOLINT(google-build-using-namespace): a program of one file

namespace {

constexpr int64_t kNumMicrobatches = 6, kSamples = 16, kFeatures = 8;

// Samples of a step, of which the model learns the sum of features.
at::Tensor samples(int64_t step, int64_t microbatch) {
  return at::ones({kSamples, kFeatures}) * static_cast<double>((step * kNumMicrobatches + microbatch) % 7 - 3) / 8;
}

}  // namespace

int main() {
  auto world =
      std::make_shared<distributed::World>(distributed::rank_info_from_environment(), distributed::WorldOptions{});
  // 1. Who does what in which order: compute actions by the schedule's paper, messages by lowering.
  const int64_t num_stages = 2 * world->size();
  const pipeline::Schedule schedule =
      pipeline::make_schedule("InterleavedZeroBubble", {world->size(), num_stages, kNumMicrobatches});
  const pipeline::Schedule lowered = pipeline::lower(schedule);

  // 2. This rank's stages. Their layers leave the products for weights to the schedule's W actions.
  std::vector<std::shared_ptr<nn::Linear>> layers;
  std::vector<std::shared_ptr<pipeline::Stage>> stages;
  std::vector<nn::Parameter*> parameters;
  for (int64_t index = 0; index < num_stages; ++index) {
    if (schedule.rank_of_stage[static_cast<size_t>(index)] != world->rank()) continue;
    auto layer = std::make_shared<nn::Linear>(kFeatures, index + 1 == num_stages ? 1 : kFeatures, at::kFloat);
    layer->to_empty(at::kCPU);
    nn::Initializer(static_cast<uint64_t>(index)).normal(layer->weight, 0.0, 0.4);
    auto queue = std::make_shared<nn::WeightGradientQueue>();
    layer->set_weight_gradient_queue(queue);
    layers.push_back(layer);
    stages.push_back(std::make_shared<pipeline::Stage>(index, pipeline::StageHooks{}, queue));
    parameters.push_back(&layer->weight);
  }
  optim::Adam optimizer(parameters, {.weight_decay = 0});

  // 3. Each step goes through the schedule once; the last stage's forward gives the loss.
  for (int64_t step = 1; step <= 300; ++step) {
    optimizer.zero_grad();
    at::Tensor loss = at::zeros({1});
    for (size_t i = 0; i < stages.size(); ++i) {
      const int64_t index = stages[i]->index();
      stages[i]->begin([&, i, index](int64_t microbatch, const at::Tensor& input) {
        const at::Tensor x = samples(step, microbatch);
        const at::Tensor y = (*layers[i])(index == 0 ? x : input);
        if (index + 1 < num_stages) return y.tanh();
        at::Tensor error = (y - x.sum(1, /*keepdim=*/true)).square().sum() / (kSamples * kNumMicrobatches);
        loss += error.detach();
        return error;
      });
    }
    pipeline::run_schedule(lowered, stages, *world->group(), {.boundary = [](int64_t, int64_t) {
                             return pipeline::Boundary{.sizes = {kSamples, kFeatures}, .dtype = at::kFloat};
                           }});
    optimizer.step(/*lr=*/3e-3);
    const at::Tensor total = distributed::all_reduce(loss, distributed::ReduceOp::kSum, *world->group()).wait();
    if (world->rank() == 0 && step % 100 == 0) fmt::print("step {} loss {:.5f}\n", step, total.item<float>());
    if (step == 300 && total.item<float>() > 0.1) return 1;
  }
  fmt::print("rank {} has stages {} and {}\n", world->rank(), stages.front()->index(), stages.back()->index());
  return 0;
}
