// Operators of ours ("titan::", titan/kernels).
#include <ATen/core/dispatch/Dispatcher.h>

#include <string_view>
#include <vector>

#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/families.h"
#include "titan/dtensor/rules/strategies.h"

namespace titan::dtensor {
namespace {

Sharding as_it_is(const Call& call) {
  return {{call.operands.front().spec->placements}, {call.operands.front().spec->placements}, {}};
}

// Each element's number follows from its index in the whole tensor, so a rank fills what it has, block by block.
LocalKernel fill_blocks(const Call& /*call*/, const Placed& placed) {
  const Spec& spec = *placed.inputs.front();
  std::vector<Segments> segments;
  for (int64_t dim = 0; dim < spec.dim(); ++dim) segments.push_back(spec.segments(dim));
  return [sizes = spec.sizes, segments](const c10::OperatorHandle& op, torch::jit::Stack& stack) {
    const auto num_arguments = static_cast<int64_t>(op.schema().arguments().size());
    const torch::jit::Stack arguments(stack.end() - num_arguments, stack.end());
    torch::jit::drop(stack, num_arguments);
    const at::Tensor x = arguments.front().toTensor();
    std::vector<size_t> at(segments.size());  // one segment of each dimension: a block
    for (bool more = x.numel() > 0; more;) {
      at::Tensor block = x;
      std::vector<int64_t> offsets;
      for (size_t dim = 0; dim < at.size(); ++dim) {
        const auto d = static_cast<int64_t>(dim);
        int64_t begin = 0;
        for (size_t i = 0; i < at[dim]; ++i) begin += segments[dim][i].size;
        block = block.narrow(d, begin, segments[dim][at[dim]].size);
        offsets.push_back(segments[dim][at[dim]].offset);
      }
      torch::jit::Stack of_block(arguments);
      of_block[0] = block;
      of_block[arguments.size() - 2] = sizes;
      of_block[arguments.size() - 1] = offsets;
      op.callBoxed(of_block);
      // The next block, the last dimension first.
      size_t dim = at.size();
      while (dim > 0 && ++at[dim - 1] == segments[dim - 1].size()) at[--dim] = 0;
      more = dim > 0;
    }
    stack.emplace_back(x);
  };
}

// rms_norm(x, weight, eps): the last dimension is whole on each rank.
std::vector<Strategy> rms_norm(const Call& call) {
  std::vector<Strategy> strategies;
  for (int64_t dim = 0; dim + 1 < call.operand("x").dim(); ++dim) {
    strategies.push_back(call.strategy({{"x", shard(dim)}}, {shard(dim), shard(dim)}));
  }
  return strategies;
}

// rms_norm_backward(grad, x, weight, rstd): the weight's gradient is a sum over the other dimensions. Linear in `grad`.
std::vector<Strategy> rms_norm_backward(const Call& call) {
  std::vector<Strategy> strategies;
  for (int64_t dim = 0; dim + 1 < call.operand("x").dim(); ++dim) {
    strategies.push_back(
        call.strategy({{"grad", shard(dim)}, {"x", shard(dim)}, {"rstd", shard(dim)}}, {shard(dim), partial()}));
  }
  strategies.push_back(call.strategy({{"grad", partial()}}, {partial(), partial()}));
  return strategies;
}

// rms_norm_of_sum(x, delta, weight, eps).
std::vector<Strategy> rms_norm_of_sum(const Call& call) {
  std::vector<Strategy> strategies;
  for (int64_t dim = 0; dim + 1 < call.operand("x").dim(); ++dim) {
    strategies.push_back(
        call.strategy({{"x", shard(dim)}, {"delta", shard(dim)}}, {shard(dim), shard(dim), shard(dim)}));
  }
  return strategies;
}

// rms_norm_of_sum_backward(grad_sum, grad, sum, weight, rstd): linear in both gradients together.
std::vector<Strategy> rms_norm_of_sum_backward(const Call& call) {
  std::vector<Strategy> strategies;
  for (int64_t dim = 0; dim + 1 < call.operand("sum").dim(); ++dim) {
    strategies.push_back(
        call.strategy({{"grad_sum", shard(dim)}, {"grad", shard(dim)}, {"sum", shard(dim)}, {"rstd", shard(dim)}},
                      {shard(dim), partial()}));
  }
  strategies.push_back(call.strategy({{"grad_sum", partial()}, {"grad", partial()}}, {partial(), partial()}));
  return strategies;
}

// Every tensor has the same shape, and each element needs those at its place. Linear in `term`, which may be sums.
std::vector<Strategy> elements(const Call& call, std::string_view term) {
  std::vector<Strategy> strategies;
  for (int64_t dim = 0; dim < call.operands.front().dim(); ++dim) {
    strategies.push_back({Placements(call.operands.size(), shard(dim)), Placements(call.outputs.size(), shard(dim))});
  }
  for (const Placement& sum : sums(call)) {
    strategies.push_back(call.strategy({{term, sum}}, Placements(call.outputs.size(), sum)));
  }
  return strategies;
}

std::vector<Strategy> swiglu(const Call& call) { return elements(call, "up"); }
std::vector<Strategy> swiglu_backward(const Call& call) { return elements(call, "grad"); }

// rotary(x, turns, ...): batch and heads; the turns are by position, and perhaps by batch.
std::vector<Strategy> rotary(const Call& call) {
  const auto turns = call.operand("turns").dim() == 3 ? shard(0) : replicate();
  std::vector<Strategy> strategies{call.strategy({{"x", shard(0)}, {"turns", turns}}, {shard(0)}),
                                   call.strategy({{"x", shard(2)}}, {shard(2)})};
  for (const Placement& sum : sums(call)) strategies.push_back(call.strategy({{"x", sum}}, {sum}));
  return strategies;
}

// logit_rows, logit_gradient_: of each row by itself.
std::vector<Strategy> by_row(const Call& call) {
  return {{Placements(call.operands.size(), shard(0)), Placements(call.outputs.size(), shard(0))}};
}

std::vector<at::Tensor> first_operand(const Call& call) { return {call.operands.front().meta}; }

}  // namespace

void add_own_rules(RuleTable& table) {
  table.begin_family("titan's own");
  table.add({"titan::random_normal_"}, {.whole_mesh = as_it_is, .kernel = fill_blocks, .outputs = first_operand});
  table.add({"titan::rms_norm"}, {.per_axis = rms_norm});
  table.add({"titan::rms_norm_backward"}, {.per_axis = rms_norm_backward});
  table.add({"titan::rms_norm_of_sum"}, {.per_axis = rms_norm_of_sum});
  table.add({"titan::rms_norm_of_sum_backward"}, {.per_axis = rms_norm_of_sum_backward});
  table.add({"titan::swiglu"}, {.per_axis = swiglu});
  table.add({"titan::swiglu_backward"}, {.per_axis = swiglu_backward});
  table.add({"titan::rotary"}, {.per_axis = rotary});
  table.add({"titan::logit_rows", "titan::logit_gradient_"}, {.per_axis = by_row});
}

}  // namespace titan::dtensor
