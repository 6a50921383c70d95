// Applies a job's techniques to a model, in the one order in which they compose: pipeline split -> tensor -> context ->
// activation checkpoint -> compile -> data parallel (with its mixed precision). It knows of the model what ModelParts
// tells, and for tensor parallelism the model's table.
#pragma once

#include <vector>

#include "titan/models/model_spec.h"
#include "titan/parallel/tensor/module_sharding.h"

namespace titan::models {

// model: on the meta device; it will compute on `device` and must outlive what is returned. sharding_plan: what tensor
// parallelism does to each module, used only where its degree is above 1. Says each thing it applied in one log line.
// Every rank calls it.
Parallelized parallelize(LanguageModel& model, const std::vector<parallel::ModuleSharding>& sharding_plan,
                         const config::JobConfig& job, const distributed::DeviceMesh& mesh, at::Device device);

}  // namespace titan::models
