#include "titan/dtensor/placement.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <ostream>

#include "titan/distributed/reduction.h"

namespace titan::dtensor {

Placement replicate() { return {}; }

Placement shard(int64_t dim) { return {.kind = Placement::Kind::kShard, .dim = static_cast<int32_t>(dim)}; }

Placement strided_shard(int64_t dim, int64_t split_factor) {
  TORCH_CHECK_VALUE(split_factor >= 1, "strided_shard: expected a split_factor of at least 1, got ", split_factor);
  return {.kind = Placement::Kind::kShard,
          .dim = static_cast<int32_t>(dim),
          .split_factor = static_cast<int32_t>(split_factor)};
}

Placement partial(ReduceOp op) { return {.kind = Placement::Kind::kPartial, .reduce_op = op}; }

std::string to_string(const Placement& placement) {
  switch (placement.kind) {
    case Placement::Kind::kReplicate:
      return "R";
    case Placement::Kind::kShard:
      if (placement.split_factor > 1) return fmt::format("_S({}, {})", placement.dim, placement.split_factor);
      return fmt::format("S({})", placement.dim);
    case Placement::Kind::kPartial:
      return fmt::format("P({})", distributed::name_of(placement.reduce_op));
  }
  TORCH_INTERNAL_ASSERT(false, "a placement without a text");
}

std::string to_string(const Placements& placements) {
  std::string text;
  for (const Placement& placement : placements) text += (text.empty() ? "" : ", ") + to_string(placement);
  return "(" + text + ")";
}

std::ostream& operator<<(std::ostream& out, const Placement& placement) { return out << to_string(placement); }
std::ostream& operator<<(std::ostream& out, const Placements& placements) { return out << to_string(placements); }

}  // namespace titan::dtensor
