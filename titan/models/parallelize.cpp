#include "titan/models/parallelize.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "titan/activation_checkpoint/apply.h"
#include "titan/config/job_config.h"
#include "titan/distributed/collectives.h"
#include "titan/distributed/device_mesh.h"
#include "titan/logging/logger.h"
#include "titan/nn/dtype.h"
#include "titan/parallel/ddp.h"
#include "titan/parallel/fsdp/fully_shard.h"
#include "titan/parallel/mixed_precision.h"
#include "titan/parallel/tensor/parallelize_module.h"

namespace titan::models {
namespace {

std::vector<nn::Module*> in_order(const ModelParts& parts) {
  std::vector<nn::Module*> modules;
  for (const auto* some : {&parts.input, &parts.blocks, &parts.output}) {
    modules.insert(modules.end(), some->begin(), some->end());
  }
  return modules;
}

// Whether a parameter is used both before the blocks and after them.
bool is_tied(const ModelParts& parts) {
  std::unordered_set<const at::TensorImpl*> at_input;
  for (const nn::Module* module : parts.input) {
    for (const nn::Parameter* parameter : module->parameters()) at_input.insert(parameter->get().unsafeGetTensorImpl());
  }
  for (const nn::Module* module : parts.output) {
    for (const nn::Parameter* parameter : module->parameters()) {
      if (at_input.contains(parameter->get().unsafeGetTensorImpl())) return true;
    }
  }
  return false;
}

// What FSDP gathers and frees at a time. The last unit's backward follows its forward at once, so by default it stays
// whole between them; so does the unit that embedding and output make up where they share their weight.
std::vector<parallel::FsdpUnit> fsdp_units_of(const ModelParts& parts, const std::string& reshard_after_forward) {
  const bool reshard = reshard_after_forward != "never", reshard_last = reshard_after_forward == "always";
  std::vector<parallel::FsdpUnit> units;
  const auto add = [&](std::vector<nn::Module*> modules, bool reshards) {
    if (!modules.empty()) units.push_back({.modules = std::move(modules), .reshard_after_forward = reshards});
  };
  const bool tied = is_tied(parts);
  if (tied) {
    std::vector<nn::Module*> ends = parts.input;
    ends.insert(ends.end(), parts.output.begin(), parts.output.end());
    add(ends, reshard_last);
  } else {
    add(parts.input, reshard);
  }
  for (nn::Module* block : parts.blocks) add({block}, reshard);
  if (!tied) add(parts.output, reshard_last);
  return units;
}

// The axes that parameters are DTensors on.
distributed::DeviceMesh fsdp_mesh(const distributed::DeviceMesh& mesh) {
  const bool replicates = mesh.size("dp_replicate") > 1, splits = mesh.size("tp") > 1;
  if (replicates && splits) return mesh.slice({"dp_replicate", "dp_shard", "tp"});
  if (replicates) return mesh.slice({"dp_replicate", "dp_shard"});
  return splits ? mesh.slice({"dp_shard", "tp"}) : mesh.slice("dp_shard");
}

// Ranks that run the blocks together, in collectives within them, recompute the same operators.
void agree_over(distributed::ProcessGroup& group, std::vector<double>& values) {
  const at::Tensor tensor = at::tensor(values, at::kDouble);
  const at::Tensor agreed = distributed::all_reduce(tensor, distributed::ReduceOp::kMax, group).wait();
  std::copy_n(agreed.const_data_ptr<double>(), values.size(), values.begin());
}

activation_checkpoint::Applied checkpoint_activations(LanguageModel& model, const config::JobConfig& job,
                                                      const distributed::DeviceMesh& mesh, at::Device device) {
  activation_checkpoint::Surroundings surroundings{.device = device,
                                                   .ranks_on_host = mesh.world()->info().local_world_size};
  if (mesh.size("tp") > 1) {
    surroundings.agree = [mesh](std::vector<double>& values) { agree_over(*mesh.group("tp"), values); };
  }
  if (mesh.world()->info().rank == 0) surroundings.chart_folder = job.job.dump_folder + "/memory_budget_pareto";
  auto applied = apply_activation_checkpoint(model.parts().blocks, job.activation_checkpoint, surroundings);
  if (!applied.description.empty()) {
    logging::info("Applied {} activation checkpointing to the model: {}", job.activation_checkpoint.mode,
                  applied.description);
  }
  return applied;
}

StepHooks apply_techniques(LanguageModel& model, const std::vector<parallel::ModuleSharding>& sharding,
                           const config::JobConfig& job, const distributed::DeviceMesh& mesh, at::Device device) {
  StepHooks hooks;
  if (mesh.size("tp") > 1) {
    parallel::parallelize_module(model, mesh.slice("tp"), sharding);
    logging::info("Applied {}tensor parallelism to the model: {} ranks, {}, {}",
                  job.parallelism.enable_async_tensor_parallel ? "asynchronous " : "", mesh.size("tp"),
                  job.parallelism.disable_sequence_parallel ? "whole sequences" : "sequence parallel",
                  job.parallelism.disable_loss_parallel ? "gathered logits" : "loss parallel");
  }
  hooks.before_microbatch = checkpoint_activations(model, job, mesh, device).before_microbatch;
  const auto also_before_microbatch = [&](std::function<void(bool)> then) {
    hooks.before_microbatch = [first = hooks.before_microbatch, then = std::move(then)](bool last) {
      first(last);
      then(last);
    };
  };
  const at::ScalarType param_dtype = nn::dtype_from(job.training.mixed_precision_param);
  // Copies of what tensor parallelism splits are summed up by the same machinery, with one shard.
  if (mesh.size("dp_shard") > 1 || (mesh.size("dp_replicate") > 1 && mesh.size("tp") > 1)) {
    const bool hybrid = mesh.size("dp_replicate") > 1;
    auto fsdp = std::make_shared<parallel::FullyShard>(
        fsdp_units_of(model.parts(), job.parallelism.fsdp_reshard_after_forward), fsdp_mesh(mesh),
        parallel::FsdpOptions{.param_dtype = param_dtype,
                              .reduce_dtype = nn::dtype_from(job.training.mixed_precision_reduce),
                              .compute_device = device});
    if (job.training.enable_cpu_offload && device.is_cpu()) {
      logging::warning("training.enable_cpu_offload: has no effect on a CPU");
    }
    also_before_microbatch([fsdp](bool last) { fsdp->before_microbatch(last); });
    hooks.after_backward = [fsdp] { fsdp->finish(); };
    logging::info("Applied {} to the model: {} shards{}, {} compute copies of {} parameters", hybrid ? "HSDP" : "FSDP",
                  mesh.size("dp_shard"), hybrid ? fmt::format(" x {} replicas", mesh.size("dp_replicate")) : "",
                  job.training.mixed_precision_param, job.training.dtype);
    return hooks;
  }
  if (mesh.size("dp_replicate") > 1) {
    auto ddp = std::make_shared<parallel::DistributedDataParallel>(in_order(model.parts()), mesh.group("dp_replicate"));
    also_before_microbatch([ddp](bool last) { ddp->before_microbatch(last); });
    hooks.after_backward = [ddp] { ddp->finish(); };
    logging::info("Applied DDP to the model: {} replicas", mesh.size("dp_replicate"));
  }

  if (param_dtype != nn::dtype_from(job.training.dtype)) {
    for (nn::Module* unit : in_order(model.parts())) parallel::apply_mixed_precision(*unit, param_dtype);
    logging::info("Applied mixed precision to the model: {} compute copies of {} parameters",
                  job.training.mixed_precision_param, job.training.dtype);
  }
  return hooks;
}

}  // namespace

Parallelized parallelize(ModelToParallelize model, const config::JobConfig& job, const distributed::DeviceMesh& mesh,
                         at::Device device) {
  StepHooks hooks = apply_techniques(*model.whole, model.sharding, job, mesh, device);
  Parallelized parallelized{.parts = {model.whole},
                            .forward_backward = std::make_unique<MicrobatchLoop>(model.whole, std::move(hooks))};
  if (job.training.enable_cpu_offload) parallelized.parameter_device = at::kCPU;
  return parallelized;
}

}  // namespace titan::models
