// Operators of ours ("titan::", titan/kernels).
#include <ATen/core/dispatch/Dispatcher.h>

#include <vector>

#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/families.h"

namespace titan::dtensor {
namespace {

Sharding as_it_is(const Call& call) {
  return {{call.operands.front().spec->placements}, {call.operands.front().spec->placements}, {}};
}

// Each element's number follows from its index in the whole tensor, so a rank fills what it has, block by block.
LocalKernel fill_blocks(const Call& call, const Placed& placed) {
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

}  // namespace

void add_own_rules(RuleTable& table) {
  table.begin_family("titan's own");
  table.add({"titan::random_normal_"}, {.whole_mesh = as_it_is, .kernel = fill_blocks, .outputs = [](const Call& call) {
                                          return std::vector<at::Tensor>{call.operands.front().meta};
                                        }});
}

}  // namespace titan::dtensor
