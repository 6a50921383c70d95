// Tensor parallelism: replaces parameters by DTensors and hooks calls so that plain tensors go in and out, each rank's
// part of a tensor placed as the plan says. It knows no model; the plan does.
#pragma once

#include <vector>

#include "titan/dtensor/mesh.h"
#include "titan/nn/module.h"
#include "titan/parallel/tensor/module_sharding.h"

namespace titan::parallel {

// mesh: one axis. Every module of the plan that is there is treated, in the plan's order; those that are absent (other
// pipeline stages) are passed over. Parameters may be on the meta device; tied ones stay tied. A parameter of a
// module in the plan that the plan does not place, or a name that is no module, is our mistake. Collective over `mesh`.
void parallelize_module(nn::Module& root, const dtensor::Mesh& mesh, const std::vector<ModuleSharding>& plan);

}  // namespace titan::parallel
