// Where a tensor's elements are along one axis of a mesh: the same on every rank (Replicate), a part of one dimension
// on each (Shard, StridedShard), or terms on each that a reduction makes the tensor of (Partial). Names and texts are
// PyTorch's. How several placements act together is layout.h's matter.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "titan/distributed/collectives.h"

namespace titan::dtensor {

using distributed::ReduceOp;

// A value. Made by replicate(), shard(), strided_shard() and partial().
struct Placement {
  enum class Kind : uint8_t { kReplicate, kShard, kPartial };

  Kind kind = Kind::kReplicate;
  ReduceOp reduce_op = ReduceOp::kSum;  // kPartial
  int32_t dim = 0;                      // kShard; negative counts from the end until a tensor is known
  int32_t split_factor = 1;             // kShard; above 1: StridedShard

  bool operator==(const Placement&) const = default;
  bool is_replicate() const { return kind == Kind::kReplicate; }
  bool is_shard() const { return kind == Kind::kShard; }  // StridedShard too
  bool is_shard(int64_t of_dim) const { return kind == Kind::kShard && dim == of_dim; }
  bool is_partial() const { return kind == Kind::kPartial; }

  // One word that says it all, for keys of caches.
  uint64_t packed() const {
    return uint64_t(kind) | uint64_t(reduce_op) << 2 | uint64_t(uint32_t(split_factor) & 0xffffff) << 8 |
           uint64_t(uint32_t(dim)) << 32;
  }
};

// One per axis of the mesh, outermost first.
using Placements = std::vector<Placement>;

// Every rank has the whole.
Placement replicate();

// Split along `dim` into as many parts as the axis has ranks, as torch.chunk does: parts of ceil(size / ranks), then
// one that is shorter, then empty ones. Two axes that shard one dimension split it one after the other, outer first.
Placement shard(int64_t dim);

// The dimension is taken as `split_factor` parts (torch.chunk's), each of which is sharded over the axis; a rank has
// its piece of each part, one after another. This is how FSDP shards what tensor parallelism has sharded on an inner
// axis: [strided_shard(0, tp), shard(0)] on (dp_shard, tp) is sharded over tp first and then over dp_shard.
Placement strided_shard(int64_t dim, int64_t split_factor);

// The tensor is the sum (average, maximum, minimum) of what the ranks have.
Placement partial(ReduceOp op = ReduceOp::kSum);

// "R", "S(0)", "_S(0, 2)", "P(sum)", as PyTorch prints them; "(S(0), R)" for several.
std::string to_string(const Placement& placement);
std::string to_string(const Placements& placements);
std::ostream& operator<<(std::ostream& out, const Placement& placement);
std::ostream& operator<<(std::ostream& out, const Placements& placements);

}  // namespace titan::dtensor
