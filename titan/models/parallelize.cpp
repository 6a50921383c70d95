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
#include "titan/models/pipeline_parallelize.h"
#include "titan/nn/dtype.h"
#include "titan/parallel/context/context_parallel.h"
#include "titan/parallel/ddp.h"
#include "titan/parallel/fsdp/fully_shard.h"
#include "titan/parallel/mixed_precision.h"
#include "titan/parallel/served_modules.h"
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

// The axes that parameters are DTensors on. Ranks that share sequences need no copy of the weights each, so these are
// sharded over them as well.
distributed::DeviceMesh fsdp_mesh(const distributed::DeviceMesh& mesh) {
  const bool replicates = mesh.size("dp_replicate") > 1, splits = mesh.size("tp") > 1;
  if (replicates && splits) return mesh.slice({"dp_replicate", "fsdp", "tp"});
  if (replicates) return mesh.slice({"dp_replicate", "fsdp"});
  return splits ? mesh.slice({"fsdp", "tp"}) : mesh.slice("fsdp");
}

// The ranks that share sequences with this one.
std::shared_ptr<const parallel::Ring> make_ring(const config::Parallelism& p, const distributed::DeviceMesh& mesh) {
  parallel::RingOptions options;
  if (!p.context_parallel_load_balancer.has_value()) options.order = parallel::SequenceOrder::kInOrder;
  if (p.context_parallel_rotate_method == "alltoall") options.rotation = parallel::KvRotation::kRing;
  return std::make_shared<parallel::Ring>(mesh.group("cp"), options);
}

// Ranks that run the blocks together, in collectives within them, recompute the same operators.
void agree_over(distributed::ProcessGroup& group, std::vector<double>& values) {
  const at::Tensor tensor = at::tensor(values, at::kDouble);
  const at::Tensor agreed = distributed::all_reduce(tensor, distributed::ReduceOp::kMax, group).wait();
  std::copy_n(agreed.const_data_ptr<double>(), values.size(), values.begin());
}

activation_checkpoint::Applied checkpoint_activations(LanguageModel& model, const config::JobConfig& job,
                                                      const distributed::DeviceMesh& mesh, at::Device device,
                                                      int64_t forwards_in_flight) {
  activation_checkpoint::Surroundings surroundings{.device = device,
                                                   .ranks_on_host = mesh.world()->info().local_world_size,
                                                   .forwards_in_flight = forwards_in_flight};
  const distributed::DeviceMesh together = mesh.slice({"cp", "tp"});
  if (together.size() > 1) {
    surroundings.agree = [together](std::vector<double>& values) { agree_over(*together.group(), values); };
  }
  if (mesh.world()->info().rank == 0) surroundings.chart_folder = job.job.dump_folder + "/memory_budget_pareto";
  return apply_activation_checkpoint(model.parts().blocks, job.activation_checkpoint, surroundings);
}

bool is_mixed_precision(const config::JobConfig& job) {
  return job.training.mixed_precision_param != job.training.dtype;
}

// Copies of what tensor parallelism splits are summed up by FSDP's machinery, with one shard. It also keeps one compute
// copy for all micro-batches that are under way in a pipeline.
bool uses_fsdp(const config::JobConfig& job, const distributed::DeviceMesh& mesh) {
  return mesh.size("fsdp") > 1 || (mesh.size("dp_replicate") > 1 && mesh.size("tp") > 1) ||
         (mesh.size("pp") > 1 && is_mixed_precision(job));
}

// The techniques below the pipeline, applied to a model or to a stage of it, which must outlive them.
struct Techniques {
  activation_checkpoint::Applied checkpointing;
  std::shared_ptr<parallel::FullyShard> fsdp;              // or null
  std::shared_ptr<parallel::DistributedDataParallel> ddp;  // or null
};

// ring: the ranks that share sequences, or null.
Techniques apply_techniques(LanguageModel& model, const std::vector<parallel::ModuleSharding>& sharding,
                            const std::shared_ptr<const parallel::Ring>& ring, const config::JobConfig& job,
                            const distributed::DeviceMesh& mesh, at::Device device, int64_t forwards_in_flight = 1) {
  if (mesh.size("tp") > 1) parallel::parallelize_module(model, mesh.slice("tp"), sharding);
  if (ring != nullptr) parallel::share_attention(model.parts().blocks, ring);
  if (mesh.world()->size() > 1) parallel::name_served_modules(model);
  Techniques techniques{.checkpointing = checkpoint_activations(model, job, mesh, device, forwards_in_flight)};
  const at::ScalarType param_dtype = nn::dtype_from(job.training.mixed_precision_param);
  if (uses_fsdp(job, mesh)) {
    // A stage's parameters are needed again and again: by default its schedule alone frees them.
    std::string reshard = job.parallelism.fsdp_reshard_after_forward;
    if (reshard == "default" && mesh.size("pp") > 1) reshard = "never";
    techniques.fsdp = std::make_shared<parallel::FullyShard>(
        fsdp_units_of(model.parts(), reshard), fsdp_mesh(mesh),
        parallel::FsdpOptions{.param_dtype = param_dtype,
                              .reduce_dtype = nn::dtype_from(job.training.mixed_precision_reduce),
                              .compute_device = device,
                              .shard_axis = "fsdp"});
    return techniques;
  }
  if (mesh.size("dp_replicate") > 1) {
    techniques.ddp =
        std::make_shared<parallel::DistributedDataParallel>(in_order(model.parts()), mesh.group("dp_replicate"));
  }
  if (is_mixed_precision(job)) {
    for (nn::Module* unit : in_order(model.parts())) parallel::apply_mixed_precision(*unit, param_dtype);
  }
  return techniques;
}

void log_techniques(const config::JobConfig& job, const distributed::DeviceMesh& mesh, at::Device device,
                    const std::string& checkpointing) {
  if (mesh.size("tp") > 1) {
    logging::info("Applied {}tensor parallelism to the model: {} ranks, {}, {}",
                  job.parallelism.enable_async_tensor_parallel ? "asynchronous " : "", mesh.size("tp"),
                  job.parallelism.disable_sequence_parallel ? "whole sequences" : "sequence parallel",
                  job.parallelism.disable_loss_parallel ? "gathered logits" : "loss parallel");
  }
  if (mesh.size("cp") > 1) {
    const config::Parallelism& p = job.parallelism;
    logging::info("Applied context parallelism to the model: {} ranks a sequence, {}, keys and values {}",
                  mesh.size("cp"), p.context_parallel_load_balancer.has_value() ? "head-tail balanced" : "in order",
                  p.context_parallel_rotate_method == "alltoall" ? "passed round" : "gathered");
  }
  if (!checkpointing.empty()) {
    logging::info("Applied {} activation checkpointing to the model: {}", job.activation_checkpoint.mode,
                  checkpointing);
  }
  const int64_t num_replicas = mesh.size("dp_replicate"), num_shards = mesh.size("fsdp");
  if (uses_fsdp(job, mesh) && num_replicas * num_shards > 1) {
    if (job.training.enable_cpu_offload && device.is_cpu()) {
      logging::warning("training.enable_cpu_offload: has no effect on a CPU");
    }
    logging::info("Applied {} to the model: {} shards{}, {} compute copies of {} parameters",
                  num_replicas > 1 ? "HSDP" : "FSDP", num_shards,
                  num_replicas > 1 ? fmt::format(" x {} replicas", num_replicas) : "",
                  job.training.mixed_precision_param, job.training.dtype);
    return;
  }
  if (num_replicas > 1) logging::info("Applied DDP to the model: {} replicas", num_replicas);
  if (is_mixed_precision(job)) {
    logging::info("Applied mixed precision to the model: {} compute copies of {} parameters",
                  job.training.mixed_precision_param, job.training.dtype);
  }
}

StepHooks step_hooks(const Techniques& techniques) {
  return {.before_microbatch =
              [techniques](bool last) {
                techniques.checkpointing.before_microbatch(last);
                if (techniques.fsdp != nullptr) techniques.fsdp->before_microbatch(last);
                if (techniques.ddp != nullptr) techniques.ddp->before_microbatch(last);
              },
          .after_backward =
              [techniques] {
                if (techniques.fsdp != nullptr) techniques.fsdp->finish();
                if (techniques.ddp != nullptr) techniques.ddp->finish();
              }};
}

// The same for a stage, whose schedule says when.
StageTechniques stage_techniques(const Techniques& techniques) {
  StageTechniques stage{.before_batch = [techniques](bool last) { techniques.checkpointing.before_microbatch(last); }};
  if (const auto fsdp = techniques.fsdp) {
    fsdp->leave_to_caller();
    stage.hooks = {.unshard = [fsdp] { fsdp->unshard(); },
                   .reshard = [fsdp] { fsdp->reshard(); },
                   .keep_gradients = [fsdp] { fsdp->accumulate_gradients(); },
                   .reduce_gradients = [fsdp] { fsdp->reduce_gradients(); }};
    stage.after_backward = [fsdp] { fsdp->finish(); };
  } else if (const auto ddp = techniques.ddp) {
    stage.before_batch = [techniques, ddp](bool last) {
      techniques.checkpointing.before_microbatch(last);
      ddp->before_microbatch(/*last=*/false);  // until the schedule says so
    };
    stage.hooks.reduce_gradients = [ddp] { ddp->reduce_gradients(); };
    stage.after_backward = [ddp] { ddp->finish(); };
  }
  return stage;
}

}  // namespace

Parallelized parallelize(const ModelToParallelize& model, const config::JobConfig& job,
                         const distributed::DeviceMesh& mesh, at::Device device) {
  Parallelized parallelized;
  std::string checkpointing;
  const auto ring = mesh.size("cp") > 1 ? make_ring(job.parallelism, mesh) : nullptr;
  if (mesh.size("pp") > 1) {
    parallelized = parallelize_as_pipeline(model, job, mesh, [&](LanguageModel& stage, int64_t forwards_in_flight) {
      Techniques techniques = apply_techniques(stage, model.sharding, ring, job, mesh, device, forwards_in_flight);
      if (checkpointing.empty()) checkpointing = techniques.checkpointing.description;
      return stage_techniques(techniques);
    });
  } else {
    Techniques techniques = apply_techniques(*model.whole, model.sharding, ring, job, mesh, device);
    checkpointing = techniques.checkpointing.description;
    parallelized.parts = {model.whole};
    parallelized.parameters = model.whole->parameters();
    parallelized.forward_backward = std::make_unique<MicrobatchLoop>(model.whole, step_hooks(techniques));
  }
  log_techniques(job, mesh, device, checkpointing);
  if (ring != nullptr) parallelized.own_tokens = [ring](int64_t seq_len) { return ring->own_tokens(seq_len); };
  if (job.training.enable_cpu_offload) parallelized.parameter_device = at::kCPU;
  return parallelized;
}

}  // namespace titan::models
