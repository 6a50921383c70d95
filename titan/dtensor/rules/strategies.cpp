#include "titan/dtensor/rules/strategies.h"

#include <ATen/ExpandUtils.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>

#include <algorithm>

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

std::vector<at::ScalarType> result_dtypes(const Call& call) {
  const auto one_element = [](const at::Tensor& meta) {
    return at::ones(std::vector<int64_t>(static_cast<size_t>(meta.dim()), 1), meta.options().device(at::kCPU));
  };
  torch::jit::Stack stack = call.arguments;
  for (c10::IValue& value : stack) {
    if (value.isTensor() && value.toTensor().defined()) {
      value = one_element(value.toTensor());
    } else if (value.isDevice()) {
      value = c10::Device(c10::kCPU);
    }
  }
  const at::AutoDispatchBelowADInplaceOrView below;
  c10::Dispatcher::singleton()
      .findSchemaOrThrow(call.schema.name().c_str(), call.schema.overload_name().c_str())
      .callBoxed(stack);
  std::vector<at::ScalarType> dtypes;
  for (const c10::IValue& result : stack) dtypes.push_back(result.toTensor().scalar_type());
  return dtypes;
}

std::vector<at::Tensor> elementwise_outputs(const Call& call) {
  std::vector<int64_t> sizes;
  for (const Operand& operand : call.operands) {
    const bool is_out = operand.is_written && call.schema.arguments()[operand.argument].is_out();
    if (!is_out) sizes = at::infer_size(sizes, operand.sizes());
  }
  const auto like = std::find_if(call.operands.begin(), call.operands.end(),
                                 [&](const Operand& operand) { return operand.sizes() == sizes; });
  std::vector<at::Tensor> outputs;
  for (const at::ScalarType dtype : result_dtypes(call)) {
    const at::TensorOptions options = call.operands.front().meta.options().dtype(dtype);
    outputs.push_back(like == call.operands.end() ? at::empty(sizes, options) : at::empty_like(like->meta, options));
  }
  return outputs;
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
