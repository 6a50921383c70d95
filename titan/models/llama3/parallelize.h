// Applies a job's techniques to a Llama 3, in the one order in which they compose: pipeline split -> tensor -> context
// -> activation checkpoint -> compile -> data parallel (with its mixed precision). The model is still on meta.
#pragma once

#include "titan/models/model_spec.h"

namespace titan::models::llama3 {

class Transformer;

Parallelized parallelize(Transformer& model, const config::JobConfig& job, const distributed::DeviceMesh& mesh,
                         at::Device device);

}  // namespace titan::models::llama3
