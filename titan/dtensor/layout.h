// Which elements of a dimension a rank has: the one place that turns placements, sizes and coordinates into local
// shapes and global offsets. It knows no tensor and moves nothing.
#pragma once

#include <ATen/core/ATen_fwd.h>

#include <cstdint>
#include <vector>

#include "titan/dtensor/placement.h"

namespace titan::dtensor {

// A run of indices of a dimension: [offset, offset + size).
struct Segment {
  int64_t offset = 0, size = 0;
  bool operator==(const Segment&) const = default;
};
// Ascending, apart, and in the order in which they lie in the local tensor. Empty shards have no segment.
using Segments = std::vector<Segment>;

int64_t total_size(const Segments& segments);

// [Note: order of sharding]
// Axes that shard one dimension split it one after another. Plain shards go in the mesh's order. A StridedShard whose
// split_factor is the product of the sizes of the plain shards right of it goes after those (FSDP over tensor
// parallelism); any other one splits what is there when its turn comes into split_factor parts.
// Only the axis that comes last can be gathered or resharded by itself, since the others' pieces lie around its own.
struct ShardingStep {
  int64_t axis = 0;
  int64_t num_parts = 1;  // how many parts the axis shards each of
};
std::vector<ShardingStep> sharding_order(const Placements& placements, at::IntArrayRef mesh_sizes, int64_t dim);

// The part of `size` indices along `dim` that the rank at `coordinates` has.
Segments local_segments(const Placements& placements, at::IntArrayRef mesh_sizes, at::IntArrayRef coordinates,
                        int64_t dim, int64_t size);

// The i-th of `num` chunks of `segments` taken as one row of indices, as torch.chunk cuts it.
Segments chunk(const Segments& segments, int64_t num, int64_t index);

// Where `wanted`, which is part of `segments`, lies in the row: runs of positions instead of indices.
Segments positions(const Segments& segments, const Segments& wanted);

}  // namespace titan::dtensor
