#include "titan/dtensor/rules/across_ranks.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "titan/distributed/collectives.h"
#include "titan/dtensor/mesh_state.h"

namespace titan::dtensor {

Groups groups_along(const Spec& spec, const std::vector<int64_t>& dims) {
  Groups groups;
  for (size_t axis = 0; axis < spec.placements.size(); ++axis) {
    const Placement& placement = spec.placements[axis];
    if (!placement.is_shard() || spec.mesh->sizes[axis] == 1) continue;
    if (std::find(dims.begin(), dims.end(), placement.dim) != dims.end()) groups.push_back(spec.mesh->groups[axis]);
  }
  return groups;
}

at::Tensor all_reduced(at::Tensor x, ReduceOp op, const Groups& groups) {
  if (x.is_meta()) return x;
  for (const auto& group : groups) x = distributed::all_reduce(x, op, *group).wait();
  return x;
}

}  // namespace titan::dtensor
