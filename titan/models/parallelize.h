// Applies a job's techniques to a model, in the one order in which they compose: pipeline split -> tensor -> context ->
// activation checkpoint -> compile -> data parallel (with its mixed precision). It knows of the model what ModelParts
// tells, and for tensor parallelism the model's table.
#pragma once

#include <memory>
#include <vector>

#include "titan/dtensor/placement.h"
#include "titan/models/model_spec.h"
#include "titan/parallel/tensor/module_sharding.h"

namespace titan::models {

struct ModelToParallelize {
  std::shared_ptr<LanguageModel> whole;  // on the meta device
  // Another one, to be cut to a pipeline's stage.
  std::shared_ptr<LanguageModel> (*build)(const config::JobConfig&) = nullptr;
  // What tensor parallelism does to each module, and where it leaves what one block hands to the next; used only where
  // its degree is above 1.
  std::vector<parallel::ModuleSharding> sharding = {};
  dtensor::Placement between_blocks = dtensor::replicate();
};

// The model will compute on `device`. Says each thing it applied in one log line. Every rank calls it.
Parallelized parallelize(const ModelToParallelize& model, const config::JobConfig& job,
                         const distributed::DeviceMesh& mesh, at::Device device);

}  // namespace titan::models
