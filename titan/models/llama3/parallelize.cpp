#include "titan/models/llama3/parallelize.h"

#include <fmt/format.h>

#include "titan/config/job_config.h"
#include "titan/distributed/device_mesh.h"
#include "titan/logging/logger.h"
#include "titan/models/llama3/model.h"
#include "titan/models/llama3/sharding.h"
#include "titan/nn/dtype.h"
#include "titan/parallel/ddp.h"
#include "titan/parallel/fsdp/fully_shard.h"
#include "titan/parallel/mixed_precision.h"
#include "titan/parallel/tensor/parallelize_module.h"

namespace titan::models::llama3 {
namespace {

// The parts that techniques treat one by one, in the order of the forward.
std::vector<nn::Module*> units_of(Transformer& model) {
  std::vector<nn::Module*> units;
  const auto add = [&](nn::Module* module) {
    if (module != nullptr) units.push_back(module);
  };
  add(model.tok_embeddings.module());
  for (int64_t i = 0; i < model.layers->size(); ++i) add((*model.layers)[i].module());
  add(model.norm.module());
  add(model.output.module());
  return units;
}

// What FSDP gathers and frees at a time. The last unit's backward follows its forward at once, so by default it stays
// whole between them; so does the unit that embedding and output make up where they share their weight.
std::vector<parallel::FsdpUnit> fsdp_units_of(Transformer& model, const std::string& reshard_after_forward) {
  const bool reshard = reshard_after_forward != "never", reshard_last = reshard_after_forward == "always";
  const bool tied =
      model.tok_embeddings && model.output && model.tok_embeddings->weight.get().is_same(model.output->weight);
  std::vector<parallel::FsdpUnit> units;
  const auto add = [&](std::vector<nn::Module*> modules, bool reshards) {
    std::erase(modules, nullptr);
    if (!modules.empty()) units.push_back({.modules = std::move(modules), .reshard_after_forward = reshards});
  };
  if (tied) {
    add({model.tok_embeddings.module(), model.norm.module(), model.output.module()}, reshard_last);
  } else {
    add({model.tok_embeddings.module()}, reshard);
  }
  for (int64_t i = 0; i < model.layers->size(); ++i) add({(*model.layers)[i].module()}, reshard);
  if (!tied) add({model.norm.module(), model.output.module()}, reshard_last);
  return units;
}

// The axes that parameters are DTensors on.
distributed::DeviceMesh fsdp_mesh(const distributed::DeviceMesh& mesh) {
  const bool replicates = mesh.size("dp_replicate") > 1, splits = mesh.size("tp") > 1;
  if (replicates && splits) return mesh.slice({"dp_replicate", "dp_shard", "tp"});
  if (replicates) return mesh.slice({"dp_replicate", "dp_shard"});
  return splits ? mesh.slice({"dp_shard", "tp"}) : mesh.slice("dp_shard");
}

}  // namespace

Parallelized parallelize(Transformer& model, const config::JobConfig& job, const distributed::DeviceMesh& mesh,
                         at::Device device) {
  Parallelized parallelized;
  if (mesh.size("tp") > 1) {
    const ShardingOptions options{.sequence_parallel = !job.parallelism.disable_sequence_parallel,
                                  .loss_parallel = !job.parallelism.disable_loss_parallel};
    parallel::parallelize_module(model, mesh.slice("tp"), sharding_plan(model.layers->size(), options));
    logging::info("Applied tensor parallelism to the model: {} ranks, {}, {}", mesh.size("tp"),
                  options.sequence_parallel ? "sequence parallel" : "whole sequences",
                  options.loss_parallel ? "loss parallel" : "gathered logits");
  }
  const at::ScalarType param_dtype = nn::dtype_from(job.training.mixed_precision_param);
  // Copies of what tensor parallelism splits are summed up by the same machinery, with one shard.
  if (mesh.size("dp_shard") > 1 || (mesh.size("dp_replicate") > 1 && mesh.size("tp") > 1)) {
    const bool hybrid = mesh.size("dp_replicate") > 1;
    auto fsdp = std::make_shared<parallel::FullyShard>(
        fsdp_units_of(model, job.parallelism.fsdp_reshard_after_forward), fsdp_mesh(mesh),
        parallel::FsdpOptions{.param_dtype = param_dtype,
                              .reduce_dtype = nn::dtype_from(job.training.mixed_precision_reduce),
                              .compute_device = device});
    if (job.training.enable_cpu_offload) {
      parallelized.parameter_device = at::kCPU;
      if (device.is_cpu()) logging::warning("training.enable_cpu_offload: has no effect on a CPU");
    }
    parallelized.before_microbatch = [fsdp](bool last) { fsdp->before_microbatch(last); };
    parallelized.after_backward = [fsdp] { fsdp->finish(); };
    logging::info("Applied {} to the model: {} shards{}, {} compute copies of {} parameters", hybrid ? "HSDP" : "FSDP",
                  mesh.size("dp_shard"), hybrid ? fmt::format(" x {} replicas", mesh.size("dp_replicate")) : "",
                  job.training.mixed_precision_param, job.training.dtype);
    return parallelized;
  }
  if (mesh.size("dp_replicate") > 1) {
    auto ddp = std::make_shared<parallel::DistributedDataParallel>(units_of(model), mesh.group("dp_replicate"));
    parallelized.before_microbatch = [ddp](bool last) { ddp->before_microbatch(last); };
    parallelized.after_backward = [ddp] { ddp->finish(); };
    logging::info("Applied DDP to the model: {} replicas", mesh.size("dp_replicate"));
  }

  if (param_dtype != nn::dtype_from(job.training.dtype)) {
    for (nn::Module* unit : units_of(model)) parallel::apply_mixed_precision(*unit, param_dtype);
    logging::info("Applied mixed precision to the model: {} compute copies of {} parameters",
                  job.training.mixed_precision_param, job.training.dtype);
  }
  return parallelized;
}

}  // namespace titan::models::llama3
