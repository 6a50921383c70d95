#include "titan/models/pipeline_parallelize.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <utility>

#include "titan/config/job_config.h"
#include "titan/config/problems.h"
#include "titan/distributed/collectives.h"
#include "titan/distributed/device_mesh.h"
#include "titan/logging/logger.h"
#include "titan/nn/dtype.h"
#include "titan/parallel/pipeline/runtime.h"
#include "titan/parallel/pipeline/schedule/csv.h"
#include "titan/parallel/pipeline/schedule/lower.h"
#include "titan/parallel/pipeline/schedule/registry.h"
#include "titan/parallel/pipeline/schedule/simulate.h"
#include "titan/parallel/pipeline/tied_parameters.h"

namespace titan::models {
namespace {

using pipeline::Boundary;
using pipeline::Schedule;
using Boundaries = std::vector<Boundary>;  // [stage]: what it gets from the stage before; of the first, nothing

pipeline::ModelModules modules_of(LanguageModel& model) {
  const ModelParts parts = model.parts();
  const auto names = [](const std::vector<nn::Module*>& modules) {
    std::vector<std::string> fqns;
    for (const nn::Module* module : modules) fqns.push_back(module->fqn());
    return fqns;
  };
  return {.input = names(parts.input), .blocks = names(parts.blocks), .output = names(parts.output)};
}

// --- the plan ---

int64_t num_microbatches(const config::JobConfig& job) {
  return job.training.local_batch_size / job.parallelism.pipeline_parallel_microbatch_size;
}

Schedule schedule_from_csv(const std::string& path, const config::JobConfig& job) {
  Schedule schedule = pipeline::read_schedule_csv(path);
  const int64_t num_ranks = job.parallelism.pipeline_parallel_degree;
  TORCH_CHECK_VALUE(schedule.shape.num_ranks == num_ranks, "parallelism.pipeline_parallel_schedule_csv: ", path,
                    " has lines for ", schedule.shape.num_ranks, " ranks, but pipeline_parallel_degree is ", num_ranks);
  TORCH_CHECK_VALUE(schedule.shape.num_microbatches == num_microbatches(job),
                    "parallelism.pipeline_parallel_schedule_csv: ", path, " is for ", schedule.shape.num_microbatches,
                    " microbatches, but training.local_batch_size / pipeline_parallel_microbatch_size is ",
                    num_microbatches(job));
  return schedule;
}

int64_t num_stages_of(const config::JobConfig& job, const pipeline::ModelModules& model) {
  const config::Parallelism& p = job.parallelism;
  if (p.module_fqns_per_model_part.has_value()) {
    TORCH_CHECK_VALUE(!p.pipeline_parallel_layers_per_stage.has_value(),
                      "parallelism.pipeline_parallel_layers_per_stage: module_fqns_per_model_part says already what "
                      "each stage has; leave one of the two out");
    return static_cast<int64_t>(p.module_fqns_per_model_part->size());
  }
  if (!p.pipeline_parallel_layers_per_stage.has_value()) {
    return p.pipeline_parallel_degree * pipeline::find_schedule(p.pipeline_parallel_schedule).default_stages_per_rank();
  }
  const int64_t per_stage = *p.pipeline_parallel_layers_per_stage;
  const int64_t num_layers = static_cast<int64_t>(model.blocks.size()) + p.pipeline_parallel_first_stage_less_layers +
                             p.pipeline_parallel_last_stage_less_layers;
  const int64_t num_stages = (num_layers + per_stage - 1) / per_stage;
  TORCH_CHECK_VALUE(num_stages % p.pipeline_parallel_degree == 0,
                    fmt::format("parallelism.pipeline_parallel_layers_per_stage: {} makes {} stages of {} layers "
                                "(embedding and output counted as first_ and last_stage_less_layers), which must be a "
                                "multiple of pipeline_parallel_degree ({})",
                                per_stage, num_stages, num_layers, p.pipeline_parallel_degree));
  return num_stages;
}

Schedule schedule_of(const config::JobConfig& job, const pipeline::ModelModules& model) {
  const config::Parallelism& p = job.parallelism;
  const std::string csv = p.pipeline_parallel_schedule_csv.value_or("");
  if (!csv.empty()) return schedule_from_csv(csv, job);
  const std::string& name = p.pipeline_parallel_schedule;
  TORCH_CHECK_VALUE(name != "PipelineScheduleSingle" && name != "PipelineScheduleMulti",
                    "parallelism.pipeline_parallel_schedule_csv: ", name,
                    " is a schedule from a file: expected its path, got none");
  return pipeline::make_schedule(name, {p.pipeline_parallel_degree, num_stages_of(job, model), num_microbatches(job)});
}

// --- shapes ---

// Found by running the stages one after another on the meta device, in the dtype in which they will compute.
Boundaries infer_boundaries(const config::JobConfig& job, const pipeline::StageModules& stages,
                            std::shared_ptr<LanguageModel> (*build)(const config::JobConfig&),
                            at::IntArrayRef tokens_sizes) {
  const at::NoGradGuard no_grad;
  config::JobConfig in_compute_dtype = job;
  in_compute_dtype.training.dtype = job.training.mixed_precision_param;
  Boundaries boundaries(stages.size());
  at::Tensor x = at::empty(tokens_sizes, at::device(at::kMeta).dtype(at::kLong));
  for (size_t stage = 0; stage + 1 < stages.size(); ++stage) {
    const std::shared_ptr<LanguageModel> model = build(in_compute_dtype);
    pipeline::keep_only(*model, stages[stage]);
    x = (*model)(x);
    boundaries[stage + 1] = {.sizes = x.sizes().vec(), .dtype = x.scalar_type()};
  }
  return boundaries;
}

// --- the run ---

bool splits_backward(const Schedule& schedule, int64_t rank) {
  const std::vector<pipeline::Action>& actions = schedule.ranks.at(static_cast<size_t>(rank));
  return std::any_of(actions.begin(), actions.end(), [](const pipeline::Action& action) {
    return action.kind == pipeline::ActionKind::kBackwardInput;
  });
}

// All linear layers but the output: its backward runs chunk by chunk within the loss, and what it put off would be the
// logits' gradients of all chunks.
std::shared_ptr<nn::WeightGradientQueue> split_backward_of(LanguageModel& stage) {
  auto queue = std::make_shared<nn::WeightGradientQueue>();
  for (nn::Module* module : stage.modules()) {
    auto* const linear = dynamic_cast<nn::Linear*>(module);
    if (linear != nullptr && module != stage.output_layer().module()) linear->set_weight_gradient_queue(queue);
  }
  return queue;
}

struct PipelineStage {
  std::shared_ptr<LanguageModel> model;
  StageTechniques techniques;
  std::shared_ptr<pipeline::Stage> stage;
};

// The stage that has the module of the parameter at `fqn`.
int64_t stage_of(const std::string& fqn, const pipeline::StageModules& stages) {
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    for (const std::string& module : stages[stage]) {
      if (fqn.starts_with(module + ".")) return static_cast<int64_t>(stage);
    }
  }
  TORCH_INTERNAL_ASSERT(false, fqn, " is in no stage");
}

std::vector<pipeline::TiedParameter> tied_parameters(const PipelinePlan& plan, const LanguageModel& whole,
                                                     const std::vector<PipelineStage>& stages) {
  const auto find = [&](int64_t stage, const std::string& fqn) -> nn::Parameter* {
    for (const PipelineStage& each : stages) {
      if (each.stage->index() != stage) continue;
      for (nn::Parameter* parameter : each.model->parameters(/*with_tied=*/true)) {
        if (parameter->fqn() == fqn) return parameter;
      }
    }
    return nullptr;  // on another rank
  };
  std::vector<pipeline::TiedParameter> tied;
  for (const pipeline::Tie& tie : pipeline::ties_of(whole)) {
    const int64_t owner = stage_of(tie.owner, plan.stages), follower = stage_of(tie.follower, plan.stages);
    if (owner == follower) continue;  // tied within the stage
    tied.push_back({.owner_rank = plan.schedule.rank_of_stage[static_cast<size_t>(owner)],
                    .follower_rank = plan.schedule.rank_of_stage[static_cast<size_t>(follower)],
                    .owner = find(owner, tie.owner),
                    .follower = find(follower, tie.follower)});
  }
  return tied;
}

// Where the shapes come from, for batches of any size.
using InferBoundaries = std::function<Boundaries(at::IntArrayRef tokens_sizes)>;

class Pipeline : public ForwardBackward {
 public:
  Pipeline(const Schedule& schedule, std::vector<PipelineStage> stages, int64_t microbatch_size,
           pipeline::TiedParameters tied, std::shared_ptr<distributed::ProcessGroup> group, InferBoundaries infer)
      : schedule_(pipeline::lower(schedule)),
        stages_(std::move(stages)),
        tied_(std::move(tied)),
        microbatch_size_(microbatch_size),
        group_(std::move(group)),
        infer_(std::move(infer)) {}

  at::Tensor train(std::span<const TokenBatch> batches, const LossFunction& loss) override {
    const at::Tensor sum = at::zeros({}, batches.front().tokens.options().dtype(at::kDouble));
    tied_.refresh_followers();
    for (size_t i = 0; i < batches.size(); ++i) {
      const bool last = i + 1 == batches.size();
      for (const PipelineStage& stage : stages_) stage.techniques.before_batch(last);
      run(schedule_, microbatches_of(batches[i]), loss, sum, /*reduce_gradients=*/last);
    }
    for (const PipelineStage& stage : stages_) stage.techniques.after_backward();
    tied_.add_up_gradients();
    return known_to_all(sum);
  }

  at::Tensor evaluate(const TokenBatch& batch, const LossFunction& loss) override {
    const at::NoGradGuard no_grad;
    const at::Tensor sum = at::zeros({}, batch.tokens.options().dtype(at::kDouble));
    const std::vector<TokenBatch> microbatches = microbatches_of(batch);
    const Schedule forwards = pipeline::forward_only(schedule_.rank_of_stage, schedule_.shape.num_ranks,
                                                     static_cast<int64_t>(microbatches.size()));
    tied_.refresh_followers();
    run(forwards, microbatches, loss, sum, /*reduce_gradients=*/false);
    return known_to_all(sum);
  }

 private:
  // The last may be smaller.
  std::vector<TokenBatch> microbatches_of(const TokenBatch& batch) const {
    std::vector<TokenBatch> microbatches;
    const int64_t size = batch.tokens.size(0);
    for (int64_t begin = 0; begin < size; begin += microbatch_size_) {
      microbatches.push_back(samples_of(batch, begin, std::min(microbatch_size_, size - begin)));
    }
    return microbatches;
  }

  // Adds the losses that this rank computes to `sum`.
  void run(const Schedule& lowered, const std::vector<TokenBatch>& microbatches, const LossFunction& loss_of,
           const at::Tensor& sum, bool reduce_gradients) {
    std::vector<std::shared_ptr<pipeline::Stage>> stages;
    for (const PipelineStage& each : stages_) {
      const int64_t index = each.stage->index();
      const bool is_last = index + 1 == lowered.shape.num_stages;
      each.stage->begin([&, index, is_last](int64_t microbatch, const at::Tensor& input) {
        const TokenBatch& batch = microbatches.at(static_cast<size_t>(microbatch));
        at::Tensor hidden = (*each.model)(index == 0 ? batch.tokens : input, batch.places);
        if (!is_last) return hidden;
        at::Tensor loss = loss_of(hidden, batch.labels, *each.model->output_layer());
        sum.add_(loss.detach());
        return loss;
      });
      stages.push_back(each.stage);
    }
    const auto boundary = [&](int64_t stage, int64_t microbatch) {
      const at::IntArrayRef sizes = microbatches.at(static_cast<size_t>(microbatch)).tokens.sizes();
      Boundaries& known = boundaries_[sizes.vec()];
      if (known.empty()) known = infer_(sizes);
      return known.at(static_cast<size_t>(stage));
    };
    pipeline::run_schedule(lowered, stages, *group_,
                           {.boundary = boundary, .device = sum.device(), .reduce_gradients = reduce_gradients});
  }

  // Only the last stage's rank has computed it.
  at::Tensor known_to_all(const at::Tensor& sum) const {
    return distributed::all_reduce(sum, distributed::ReduceOp::kSum, *group_).wait();
  }

  Schedule schedule_;  // lowered
  std::vector<PipelineStage> stages_;
  pipeline::TiedParameters tied_;
  int64_t microbatch_size_;
  std::shared_ptr<distributed::ProcessGroup> group_;
  InferBoundaries infer_;
  std::map<std::vector<int64_t>, Boundaries> boundaries_;  // by sizes of a microbatch's tokens
};

}  // namespace

PipelinePlan plan_pipeline(const config::JobConfig& job, LanguageModel& model) {
  const config::Parallelism& p = job.parallelism;
  const pipeline::ModelModules modules = modules_of(model);
  PipelinePlan plan{.schedule = schedule_of(job, modules)};
  const auto [num_ranks, num_stages, microbatches] = plan.schedule.shape;
  if (p.module_fqns_per_model_part.has_value()) {
    plan.stages = *p.module_fqns_per_model_part;
    constexpr const char* kKey = "parallelism.module_fqns_per_model_part";
    TORCH_CHECK_VALUE(static_cast<int64_t>(plan.stages.size()) == num_stages, kKey, ": the schedule has ", num_stages,
                      " stages, got modules for ", plan.stages.size());
    pipeline::check_stages(plan.stages, modules, kKey);
  } else {
    plan.stages = pipeline::balance_stages(
        modules, num_stages, {p.pipeline_parallel_first_stage_less_layers, p.pipeline_parallel_last_stage_less_layers});
  }
  const std::string csv = p.pipeline_parallel_schedule_csv.value_or("");
  plan.description = fmt::format("schedule {}, {} ranks, {} stages, {} microbatches of {}",
                                 csv.empty() ? p.pipeline_parallel_schedule : csv, num_ranks, num_stages, microbatches,
                                 p.pipeline_parallel_microbatch_size);
  return plan;
}

void check_pipeline(const config::JobConfig& job, std::shared_ptr<LanguageModel> (*build)(const config::JobConfig&),
                    config::Problems& problems) {
  const config::Parallelism& p = job.parallelism;
  if (p.pipeline_parallel_degree <= 1) return;
  // Has a line of its own already.
  if (p.pipeline_parallel_microbatch_size < 1 || job.training.local_batch_size < 1 ||
      job.training.local_batch_size % p.pipeline_parallel_microbatch_size != 0) {
    return;
  }
  try {
    plan_pipeline(job, *build(job));
  } catch (const c10::ValueError& error) {
    const std::string& message = error.msg();
    if (message.starts_with("parallelism.")) return problems.add(message);
    const bool from_file = !p.pipeline_parallel_schedule_csv.value_or("").empty();
    problems.add(from_file ? fmt::format("parallelism.pipeline_parallel_schedule_csv: {}", message)
                           : fmt::format("parallelism.pipeline_parallel_schedule: {} (microbatches are "
                                         "training.local_batch_size / pipeline_parallel_microbatch_size)",
                                         message));
  }
}

Parallelized parallelize_as_pipeline(const ModelToParallelize& model, const config::JobConfig& job,
                                     const distributed::DeviceMesh& mesh, const ApplyToStage& apply) {
  const PipelinePlan plan = plan_pipeline(job, *model.whole);
  const int64_t pp_rank = mesh.coordinate("pp");
  logging::info("Applied pipeline parallelism to the model: {}", plan.description);

  // 1. The stages of this rank, each a model of its own in which the others' modules are absent.
  const int64_t in_flight = pipeline::simulate(plan.schedule).ranks.at(static_cast<size_t>(pp_rank)).peak_activations;
  Parallelized parallelized;
  std::vector<PipelineStage> stages;
  for (int64_t index = 0; index < plan.schedule.shape.num_stages; ++index) {
    if (plan.schedule.rank_of_stage[static_cast<size_t>(index)] != pp_rank) continue;
    const std::vector<std::string>& modules = plan.stages[static_cast<size_t>(index)];
    PipelineStage stage{.model = model.build(job)};
    pipeline::keep_only(*stage.model, modules);
    logging::info("Stage {} of the pipeline is on this rank: {}", index, fmt::join(modules, ", "));
    stage.techniques = apply(*stage.model, in_flight);
    auto weight_gradients = splits_backward(plan.schedule, pp_rank) ? split_backward_of(*stage.model) : nullptr;
    stage.stage = std::make_shared<pipeline::Stage>(index, stage.techniques.hooks, std::move(weight_gradients));
    parallelized.parts.push_back(stage.model);
    stages.push_back(std::move(stage));
  }

  // 2. What several stages use, one of them trains.
  std::vector<pipeline::TiedParameter> tied = tied_parameters(plan, *model.whole, stages);
  for (const PipelineStage& stage : stages) {
    for (nn::Parameter* parameter : stage.model->parameters()) {
      const bool follows =
          std::any_of(tied.begin(), tied.end(), [&](const auto& t) { return t.follower == parameter; });
      if (!follows) parallelized.parameters.push_back(parameter);
    }
  }

  // 3. How they run, and what travels between them: where a tensor is spread over tp ranks, a part of it.
  const auto infer = [job, stages = plan.stages, build = model.build, placement = model.between_blocks,
                      tp_degree = mesh.size("tp")](at::IntArrayRef tokens_sizes) {
    Boundaries boundaries = infer_boundaries(job, stages, build, tokens_sizes);
    if (tp_degree == 1 || !placement.is_shard()) return boundaries;
    for (Boundary& boundary : boundaries) {
      if (!boundary.sizes.empty()) boundary.sizes[static_cast<size_t>(placement.dim)] /= tp_degree;
    }
    return boundaries;
  };
  parallelized.forward_backward =
      std::make_unique<Pipeline>(plan.schedule, std::move(stages), job.parallelism.pipeline_parallel_microbatch_size,
                                 pipeline::TiedParameters(std::move(tied), mesh.group("pp")), mesh.group("pp"), infer);
  return parallelized;
}

}  // namespace titan::models
