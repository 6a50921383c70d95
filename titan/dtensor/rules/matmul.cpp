// Products of matrices. With the summed dimension sharded on both sides, each rank has a term of the result.
#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/families.h"
#include "titan/dtensor/rules/strategies.h"

namespace titan::dtensor {
namespace {

// A product whose operands and result have the dimensions given: rows of the first, columns of the second, batch.
// `bias` (addmm's self, broadcast to the result) may be there.
struct ProductDims {
  std::string_view first, second;
  bool batched;
};

std::vector<Strategy> product(const Call& call, const ProductDims& dims) {
  const int64_t batch = dims.batched ? 1 : 0;
  const bool has_bias = dims.first != "self";
  const at::IntArrayRef sizes = call.outputs.front().sizes();
  std::vector<Strategy> strategies;
  const auto add = [&](Placement first, Placement second, Placement result) {
    Strategy strategy = call.strategy({{dims.first, first}, {dims.second, second}}, {result});
    if (has_bias) {
      Placement& bias = strategy.inputs[call.index_of("self")];
      if (result.is_shard()) {
        const auto dim = broadcast_dim(call.operand("self"), sizes, result.dim);
        if (dim.has_value()) bias = shard(*dim);
      } else {
        bias = result;
      }
    }
    strategies.push_back(std::move(strategy));
  };
  if (dims.batched) add(shard(0), shard(0), shard(0));
  add(shard(batch), replicate(), shard(batch));
  add(replicate(), shard(batch + 1), shard(batch + 1));
  add(shard(batch + 1), shard(batch), partial());
  for (const Placement& term : sums(call)) {
    add(term, replicate(), term);
    add(replicate(), term, term);
  }
  return strategies;
}

std::vector<Strategy> mm(const Call& call) { return product(call, {"self", "mat2", false}); }
std::vector<Strategy> bmm(const Call& call) { return product(call, {"self", "mat2", true}); }
std::vector<Strategy> addmm(const Call& call) { return product(call, {"mat1", "mat2", false}); }
std::vector<Strategy> baddbmm(const Call& call) { return product(call, {"batch1", "batch2", true}); }

std::vector<Strategy> mv(const Call& call) {
  std::vector<Strategy> strategies{call.strategy({{"self", shard(0)}}, {shard(0)}),
                                   call.strategy({{"self", shard(1)}, {"vec", shard(0)}}, {partial()})};
  for (const Placement& term : sums(call)) {
    strategies.push_back(call.strategy({{"self", term}}, {term}));
    strategies.push_back(call.strategy({{"vec", term}}, {term}));
  }
  return strategies;
}

std::vector<Strategy> dot(const Call& call) {
  const std::string_view other = call.has_argument("tensor") ? "tensor" : "other";
  return {call.strategy({{"self", shard(0)}, {other, shard(0)}}, {partial()})};
}

// A number. ATen's dot does not run on the meta device.
std::vector<at::Tensor> number(const Call& call) { return {call.operands.front().meta.new_empty({})}; }

}  // namespace

void add_matmul_rules(RuleTable& table) {
  table.begin_family("matmul");
  table.add({"aten::mm", "aten::mm.out"}, {.per_axis = mm});
  table.add({"aten::bmm", "aten::bmm.out"}, {.per_axis = bmm});
  table.add_with_variants({"aten::addmm"}, {.per_axis = addmm});
  table.add_with_variants({"aten::baddbmm"}, {.per_axis = baddbmm});
  table.add({"aten::mv", "aten::mv.out"}, {.per_axis = mv});
  table.add({"aten::dot", "aten::dot.out", "aten::vdot", "aten::vdot.out"}, {.per_axis = dot, .outputs = number});
}

}  // namespace titan::dtensor
