// view and its kin: dimensions are joined and split, and shards with them.
#pragma once

#include "titan/dtensor/rule.h"

namespace titan::dtensor {

// [Note: reshaping shards]
// The dimensions of operand and result fall into groups that hold the same elements: [2, 3, 4] -> [6, 2, 2] has
// (2, 3) -> (6) and (4) -> (2, 2). A shard of the operand's group is kept if it is some shard of the result's group,
// for every rank: of the outermost dimension, a Shard; of an inner one that is joined to those outside it, a
// StridedShard (the sequence of [batch, seq, dim] -> [batch * seq, dim]), and back. Else the cheapest set of axes is
// gathered first.
Sharding reshape(const Call& call);

// What gives the result's local shape; a view if the local strides allow.
LocalKernel local_reshape(const Call& call, const Placed& placed);

}  // namespace titan::dtensor
