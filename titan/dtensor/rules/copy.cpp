// Operators that copy a tensor: to new memory, another dtype or device, into another tensor, or to the host.
#include <numeric>

#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/families.h"
#include "titan/dtensor/rules/strategies.h"

namespace titan::dtensor {
namespace {

std::vector<int64_t> same_dims(const Call& call) {
  std::vector<int64_t> dims(static_cast<size_t>(call.operands.front().dim()));
  std::iota(dims.begin(), dims.end(), 0);
  return dims;
}

std::vector<Strategy> copy(const Call& call) { return dims_move(call, same_dims(call)); }

// Rounding a term to a whole number is not rounding the sum; between floating dtypes it is the same up to rounding.
std::vector<Strategy> convert(const Call& call) {
  std::vector<Strategy> strategies = copy(call);
  const at::ScalarType from = call.operands.front().meta.scalar_type(), to = call.outputs.front().meta.scalar_type();
  const auto keeps_terms = [](at::ScalarType type) { return c10::isFloatingType(type) || c10::isComplexType(type); };
  if (from != to && !(keeps_terms(from) && keeps_terms(to))) {
    std::erase_if(strategies, [](const Strategy& strategy) { return strategy.inputs.front().is_partial(); });
  }
  return strategies;
}

// self.copy_(src): src is broadcast. Terms go into terms.
std::vector<Strategy> copy_into(const Call& call) {
  std::vector<Strategy> strategies = elementwise(call);
  for (const Placement& term : call.operand("self").spec == nullptr ? Placements{} : call.partials()) {
    strategies.push_back(call.strategy({{"self", term}, {"src", term}}, {term}));
  }
  return strategies;
}

// What the host reads must be whole, and the same on every rank.
std::vector<Strategy> whole(const Call&) { return {}; }
std::vector<at::Tensor> no_tensor(const Call&) { return {}; }

}  // namespace

void add_copy_rules(RuleTable& table) {
  table.begin_family("copies");
  table.add({"aten::clone", "aten::lift", "aten::lift_fresh_copy", "aten::alias_copy", "aten::detach_copy"},
            {.per_axis = copy});
  table.add({"aten::_local_scalar_dense", "aten::equal"}, {.per_axis = whole, .outputs = no_tensor});
  table.add({"aten::_to_copy"}, {.per_axis = convert});
  table.add({"aten::copy_", "aten::copy"}, {.per_axis = copy_into});
}

}  // namespace titan::dtensor
