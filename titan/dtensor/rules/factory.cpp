// Operators that make a tensor like another one, or fill one. A result of the operand's shape is sharded as the operand
// is; of another shape, it is replicated. None reads the operand's elements, so terms need no reduction.
#include <ATen/ops/new_empty_strided.h>

#include <algorithm>

#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/families.h"
#include "titan/dtensor/rules/strategies.h"

namespace titan::dtensor {
namespace {

Sharding like(const Call& call) {
  const Operand& self = call.operands.front();
  Placements result = self.spec->placements;
  const bool same_shape = call.outputs.front().sizes() == self.sizes();
  for (Placement& placement : result) {
    if (!same_shape || placement.is_partial()) placement = replicate();
  }
  return {{self.spec->placements}, {result}, {}};
}

void local_size(const Call& call, const Placed& placed, std::vector<c10::IValue>& arguments) {
  arguments[*call.schema.argumentIndexWithName("size")] = placed.outputs.front()->local_sizes;
}

// Dense, with the dimensions in the order of the global strides.
void local_size_and_stride(const Call& call, const Placed& placed, std::vector<c10::IValue>& arguments) {
  const Spec& spec = *placed.outputs.front();
  std::vector<size_t> order(spec.sizes.size());
  for (size_t dim = 0; dim < order.size(); ++dim) order[dim] = dim;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return spec.strides[a] > spec.strides[b]; });
  std::vector<int64_t> strides(order.size());
  int64_t stride = 1;
  for (auto dim = order.rbegin(); dim != order.rend(); ++dim) {
    strides[*dim] = stride;
    stride *= std::max<int64_t>(spec.local_sizes[*dim], 1);
  }
  arguments[*call.schema.argumentIndexWithName("size")] = spec.local_sizes;
  arguments[*call.schema.argumentIndexWithName("stride")] = strides;
}

// Zero is a sum of zeros.
std::vector<Strategy> zero(const Call& call) {
  std::vector<Strategy> strategies = elementwise(call);
  for (const Placement& term : call.partials()) strategies.push_back(call.strategy({{"self", term}}, {term}));
  return strategies;
}

}  // namespace

void add_factory_rules(RuleTable& table) {
  table.begin_family("factories");
  table.add({"aten::empty_like", "aten::zeros_like", "aten::ones_like", "aten::full_like"}, {.whole_mesh = like});
  table.add({"aten::new_empty", "aten::new_zeros", "aten::new_ones", "aten::new_full"},
            {.whole_mesh = like, .local_arguments = local_size});
  table.add({"aten::new_empty_strided"}, {.whole_mesh = like, .local_arguments = local_size_and_stride});
  table.add({"aten::fill_.Scalar", "aten::fill_.Tensor", "aten::fill.Scalar", "aten::fill.Tensor"},
            {.per_axis = elementwise});
  table.add({"aten::zero_", "aten::zero"}, {.per_axis = zero});
  table.add({"aten::tril", "aten::tril_", "aten::triu", "aten::triu_"}, {.per_axis = [](const Call& call) {
              std::vector<Strategy> strategies;
              for (int64_t dim = 0; dim + 2 < call.operands.front().dim(); ++dim) {
                strategies.push_back(call.strategy({{"self", shard(dim)}}, {shard(dim)}));
              }
              for (const Placement& term : sums(call)) strategies.push_back(call.strategy({{"self", term}}, {term}));
              return strategies;
            }});
}

}  // namespace titan::dtensor
