// For kernels that join numbers of the ranks themselves: the groups of the axes that shard certain dimensions.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "titan/dtensor/spec.h"

namespace titan::dtensor {

using Groups = std::vector<std::shared_ptr<distributed::ProcessGroup>>;

// Of the axes of more than one rank that shard any of `dims`.
Groups groups_along(const Spec& spec, const std::vector<int64_t>& dims);

// Collective over the groups, one after the other.
at::Tensor all_reduced(at::Tensor x, ReduceOp op, const Groups& groups);

}  // namespace titan::dtensor
