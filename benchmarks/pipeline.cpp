// How idle a pipeline's ranks are, beside what the simulator says when it is given the measured costs of each stage.
// Ranks are processes with a job's flags:
//   for r in 0 1; do RANK=$r WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29517 OMP_NUM_THREADS=1
//     build/benchmarks/bench_pipeline --job.config_file F --parallelism.pipeline_parallel_degree 2 ... & done; wait
#include <ATen/TensorOperators.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cstdio>

#include "titan/config/reader.h"
#include "titan/distributed/collectives.h"
#include "titan/distributed/device_mesh.h"
#include "titan/distributed/rank_info.h"
#include "titan/distributed/world.h"
#include "titan/loss/cross_entropy.h"
#include "titan/models/pipeline_parallelize.h"
#include "titan/models/registry.h"
#include "titan/nn/weight_gradient_queue.h"
#include "titan/parallel/pipeline/runtime.h"
#include "titan/parallel/pipeline/schedule/lower.h"
#include "titan/parallel/pipeline/schedule/simulate.h"

using namespace titan;  // NOLINT(google-build-using-namespace): a program of one file

namespace {

constexpr int64_t kWarmup = 2, kSteps = 8;

using Clock = pipeline::RunOptions::Clock;

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// Seconds of a stage's F, of its I or B, and of its W: sums over actions.
enum Kind : uint8_t { kForward, kBackward, kWeight, kNumKinds };

Kind kind_of(const pipeline::Action& action) {
  if (action.kind == pipeline::ActionKind::kForward) return kForward;
  return action.kind == pipeline::ActionKind::kBackwardWeight ? kWeight : kBackward;
}

int run(const std::vector<std::string>& flags) {
  config::Problems problems;
  const config::JobConfig job = config::read(flags, problems).config;
  problems.throw_if_any();
  auto world =
      std::make_shared<distributed::World>(distributed::rank_info_from_environment(), distributed::WorldOptions{});
  const models::ModelSpec& spec = *models::find_model(job.model.name);
  const auto whole = spec.build(job);
  const models::PipelinePlan plan = models::plan_pipeline(job, *whole);
  const pipeline::Schedule lowered = pipeline::lower(plan.schedule);
  const int64_t num_ranks = plan.schedule.shape.num_ranks, num_stages = plan.schedule.shape.num_stages;
  const int64_t num_microbatches = plan.schedule.shape.num_microbatches;
  const int64_t microbatch_size = job.parallelism.pipeline_parallel_microbatch_size;
  const int64_t dim = whole->output_layer()->weight.get().size(1);

  // 1. The stages of this rank, in fp32, on tokens that do not matter.
  const at::Tensor tokens = at::randint(spec.vocab_size(job), {microbatch_size, job.training.seq_len}, at::kLong);
  std::vector<std::shared_ptr<models::LanguageModel>> parts;
  std::vector<std::shared_ptr<pipeline::Stage>> stages;
  for (int64_t index = 0; index < num_stages; ++index) {
    if (plan.schedule.rank_of_stage[static_cast<size_t>(index)] != world->rank()) continue;
    parts.push_back(spec.build(job));
    models::LanguageModel& part = *parts.back();
    pipeline::keep_only(part, plan.stages[static_cast<size_t>(index)]);
    part.to_empty(at::kCPU);
    part.init_weights(nn::Initializer(0));
    auto queue = std::make_shared<nn::WeightGradientQueue>();
    for (nn::Module* module : part.modules()) {
      auto* const linear = dynamic_cast<nn::Linear*>(module);
      if (linear != nullptr && module != part.output_layer().module()) linear->set_weight_gradient_queue(queue);
    }
    stages.push_back(std::make_shared<pipeline::Stage>(index, pipeline::StageHooks{}, queue));
  }

  // 2. Steps, each from a moment that all ranks share.
  std::vector<double> totals;
  at::Tensor sums = at::zeros({num_stages, kNumKinds}, at::kDouble);
  const pipeline::RunOptions options{
      .boundary =
          [&](int64_t, int64_t) {
            return pipeline::Boundary{.sizes = {microbatch_size, job.training.seq_len, dim}, .dtype = at::kFloat};
          },
      .on_compute = [&](const pipeline::Action& action, Clock::time_point start,
                        Clock::time_point end) { sums[action.stage][kind_of(action)] += seconds(end - start); }};
  for (int64_t step = 0; step < kWarmup + kSteps; ++step) {
    if (step == kWarmup) sums.zero_();
    for (size_t i = 0; i < stages.size(); ++i) {
      const int64_t index = stages[i]->index();
      stages[i]->begin([&, i, index](int64_t, const at::Tensor& input) {
        at::Tensor hidden = (*parts[i])(index == 0 ? tokens : input, nn::TokenPlaces{});
        if (index + 1 < num_stages) return hidden;
        return loss::chunked_cross_entropy(hidden, tokens, *parts[i]->output_layer(), 1e-3, job.training.loss_chunks);
      });
    }
    distributed::barrier(*world->group());
    const auto start = Clock::now();
    pipeline::run_schedule(lowered, stages, *world->group(), options);
    distributed::barrier(*world->group());
    if (step >= kWarmup) totals.push_back(seconds(Clock::now() - start));
  }

  // 3. What was measured, and the simulator's word on it.
  sums = distributed::all_reduce(sums, distributed::ReduceOp::kSum, *world->group()).wait() / kSteps;
  double total = 0;
  for (const double step : totals) total += step / kSteps;
  const double measured = 1 - sums.sum().item<double>() / (static_cast<double>(num_ranks) * total);
  std::vector<pipeline::ActionCosts> costs;
  for (int64_t stage = 0; stage < num_stages; ++stage) {
    const auto each = [&](Kind kind) {
      return sums[stage][kind].item<double>() / static_cast<double>(num_microbatches);
    };
    costs.push_back({.forward = each(kForward), .input = each(kBackward), .weight = each(kWeight)});
  }
  const double simulated = pipeline::simulate(plan.schedule, costs).idle_share();
  if (world->rank() != 0) return 0;
  fmt::print("{}: {:.1f} ms a step; idle {:.2f}%, simulated {:.2f}%, ratio {:.3f}\n", plan.description, 1e3 * total,
             100 * measured, 100 * simulated, measured / simulated);
  for (size_t stage = 0; stage < costs.size(); ++stage) {
    fmt::print("  stage {}: F {:.2f} ms, B or I {:.2f} ms, W {:.2f} ms\n", stage, 1e3 * costs[stage].forward,
               1e3 * costs[stage].input, 1e3 * costs[stage].weight);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const c10::Error& error) {
    fmt::print(stderr, "bench_pipeline: {}\n", error.what_without_backtrace());
    return 1;
  }
}
