#include "titan/dtensor/rules/strategies.h"

namespace titan::dtensor {

std::optional<int64_t> broadcast_dim(const Operand& operand, at::IntArrayRef sizes, int64_t dim) {
  const int64_t its_dim = dim - (static_cast<int64_t>(sizes.size()) - operand.dim());
  if (its_dim < 0 || operand.sizes()[its_dim] != sizes[dim]) return std::nullopt;
  return its_dim;
}

std::vector<Strategy> elementwise(const Call& call) {
  std::vector<Strategy> strategies;
  const at::IntArrayRef sizes = call.outputs.front().sizes();
  for (int64_t dim = 0; dim < static_cast<int64_t>(sizes.size()); ++dim) {
    Strategy strategy{Placements(call.operands.size()), Placements(call.outputs.size(), shard(dim))};
    for (size_t i = 0; i < call.operands.size(); ++i) {
      const std::optional<int64_t> its_dim = broadcast_dim(call.operands[i], sizes, dim);
      if (its_dim.has_value()) strategy.inputs[i] = shard(*its_dim);
    }
    strategies.push_back(std::move(strategy));
  }
  return strategies;
}

std::vector<Placement> sums(const Call& call) {
  std::vector<Placement> found = call.partials();
  std::erase_if(found, [](const Placement& placement) {
    return placement.reduce_op != ReduceOp::kSum && placement.reduce_op != ReduceOp::kAvg;
  });
  return found;
}

std::vector<Strategy> dims_move(const Call& call, const std::vector<int64_t>& map_dims) {
  std::vector<Strategy> strategies;
  const auto add = [&](const Placement& input, const Placement& output) {
    Strategy strategy{Placements(call.operands.size()), Placements(call.outputs.size(), output)};
    strategy.inputs.front() = input;
    strategies.push_back(std::move(strategy));
  };
  for (size_t dim = 0; dim < map_dims.size(); ++dim) {
    if (map_dims[dim] >= 0) add(shard(map_dims[dim]), shard(static_cast<int64_t>(dim)));
  }
  for (const Placement& term : call.partials()) add(term, term);
  return strategies;
}

}  // namespace titan::dtensor
