#include "titan/models/llama3/parallelize.h"

#include "titan/config/job_config.h"
#include "titan/distributed/device_mesh.h"
#include "titan/logging/logger.h"
#include "titan/models/llama3/model.h"
#include "titan/nn/dtype.h"
#include "titan/parallel/ddp.h"
#include "titan/parallel/mixed_precision.h"

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

}  // namespace

Parallelized parallelize(Transformer& model, const config::JobConfig& job, const distributed::DeviceMesh& mesh) {
  Parallelized parallelized;
  if (mesh.size("dp_replicate") > 1) {
    auto ddp = std::make_shared<parallel::DistributedDataParallel>(units_of(model), mesh.group("dp_replicate"));
    parallelized.before_microbatch = [ddp](bool last) { ddp->before_microbatch(last); };
    parallelized.after_backward = [ddp] { ddp->finish(); };
    logging::info("Applied DDP to the model: {} replicas", mesh.size("dp_replicate"));
  }

  const at::ScalarType param_dtype = nn::dtype_from(job.training.mixed_precision_param);
  if (param_dtype != nn::dtype_from(job.training.dtype)) {
    for (nn::Module* unit : units_of(model)) parallel::apply_mixed_precision(*unit, param_dtype);
    logging::info("Applied mixed precision to the model: {} compute copies of {} parameters",
                  job.training.mixed_precision_param, job.training.dtype);
  }
  return parallelized;
}

}  // namespace titan::models::llama3
