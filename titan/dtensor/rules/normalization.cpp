// Softmax, layer norm and RMS norm. The normalised dimensions are whole on each rank, except for softmax, whose kernels
// here join maxima and sums over the ranks (the loss over a sharded vocabulary; Megatron-LM, arXiv 1909.08053,
// section 3): two small all_reduces instead of the logits.
#include <ATen/AccumulateType.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log.h>
#include <c10/core/WrapDimMinimal.h>

#include <limits>

#include "titan/dtensor/mesh_state.h"
#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/across_ranks.h"
#include "titan/dtensor/rules/families.h"
#include "titan/dtensor/rules/strategies.h"

namespace titan::dtensor {
namespace {

using torch::jit::Stack;

// Everything has the operand's shape, and any dimension may be sharded.
std::vector<Strategy> softmax(const Call& call) {
  std::vector<Strategy> strategies;
  for (int64_t dim = 0; dim < call.operands.front().dim(); ++dim) {
    strategies.push_back({Placements(call.operands.size(), shard(dim)), {shard(dim)}});
  }
  return strategies;
}

// log softmax, by way of the global maximum and sum.
at::Tensor log_softmax_across(const at::Tensor& x, int64_t dim, const Groups& groups) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes[dim] = 1;
  const at::Tensor largest =
      all_reduced(x.size(dim) == 0 ? at::full(sizes, -std::numeric_limits<double>::infinity(), x.options())
                                   : at::amax(x, dim, /*keepdim=*/true),
                  ReduceOp::kMax, groups);
  const at::Tensor shifted = x - largest;
  return shifted - at::log(all_reduced(at::exp(shifted).sum(dim, /*keepdim=*/true), ReduceOp::kSum, groups));
}

// _softmax, _log_softmax(self, dim, half_to_float)
LocalKernel local_softmax(const Call& call, const Placed& placed) {
  const Operand& self = call.operands.front();
  if (self.dim() == 0) return {};
  const int64_t dim = call.dim("dim", self);
  const Groups groups = groups_along(*placed.inputs.front(), {dim});
  if (groups.empty()) return {};
  const bool is_log = call.schema.name() == "aten::_log_softmax";
  const at::ScalarType dtype = call.outputs.front().meta.scalar_type();
  return [=](const c10::OperatorHandle&, Stack& stack) {
    const at::Tensor x = stack.end()[-3].toTensor();
    stack.resize(stack.size() - 3);
    // As ATen's kernels, which compute in fp32.
    const at::Tensor wide = x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
    const at::Tensor result = log_softmax_across(wide, dim, groups);
    stack.emplace_back((is_log ? result : at::exp(result)).to(dtype));
  };
}

// _softmax_backward_data, _log_softmax_backward_data(grad_output, output, dim, input_dtype)
LocalKernel local_softmax_backward(const Call& call, const Placed& placed) {
  const Operand& output = call.operand("output");
  if (output.dim() == 0) return {};
  const int64_t dim = call.dim("dim", output);
  const Groups groups = groups_along(*placed.inputs[call.index_of("output")], {dim});
  if (groups.empty()) return {};
  const bool is_log = call.schema.name() == "aten::_log_softmax_backward_data";
  const at::ScalarType dtype = call.outputs.front().meta.scalar_type();
  return [=](const c10::OperatorHandle&, Stack& stack) {
    const at::Tensor grad = stack.end()[-4].toTensor(), y = stack.end()[-3].toTensor();
    stack.resize(stack.size() - 4);
    const at::ScalarType wide = y.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor g = grad.to(wide), p = is_log ? at::exp(y.to(wide)) : y.to(wide);
    const at::Tensor sum = all_reduced((is_log ? g : g * p).sum(dim, /*keepdim=*/true), ReduceOp::kSum, groups);
    stack.emplace_back((is_log ? g - p * sum : p * (g - sum)).to(dtype));
  };
}

// --- layer norm, RMS norm ---

int64_t num_outer_dims(const Call& call, const Operand& input) {
  return input.dim() - static_cast<int64_t>(call.integers("normalized_shape").size());
}

// (result, statistics...), each with the outer dimensions.
std::vector<Strategy> norm(const Call& call) {
  std::vector<Strategy> strategies;
  for (int64_t dim = 0; dim < num_outer_dims(call, call.operand("input")); ++dim) {
    strategies.push_back(call.strategy({{"input", shard(dim)}}, Placements(call.outputs.size(), shard(dim))));
  }
  return strategies;
}

std::vector<at::Tensor> result_and_statistics(const Call& call) {
  const at::Tensor& input = call.operand("input").meta;
  std::vector<int64_t> sizes = input.sizes().vec();
  for (int64_t dim = num_outer_dims(call, call.operand("input")); dim < input.dim(); ++dim) sizes[dim] = 1;
  // In the parameters' dtype on a CPU, in the one that sums are made in on a GPU.
  const Operand* const weight = call.find("weight");
  const at::ScalarType dtype = call.device.is_cuda() ? at::toAccumulateType(input.scalar_type(), /*is_cuda=*/true)
                               : weight != nullptr   ? weight->meta.scalar_type()
                                                     : input.scalar_type();
  const at::TensorOptions statistics = input.options().dtype(dtype);
  return {at::empty_like(input), at::empty(sizes, statistics), at::empty(sizes, statistics)};
}

// RMS norm on a GPU, one kernel; on a CPU ATen composes it of others. The statistic is in the dtype of sums.
std::vector<at::Tensor> result_and_statistic(const Call& call) {
  const at::Tensor& input = call.operand("input").meta;
  std::vector<int64_t> sizes = input.sizes().vec();
  for (int64_t dim = num_outer_dims(call, call.operand("input")); dim < input.dim(); ++dim) sizes[dim] = 1;
  const at::ScalarType dtype = at::toAccumulateType(input.scalar_type(), /*is_cuda=*/true);
  return {at::empty_like(input), at::empty(sizes, input.options().dtype(dtype))};
}

// (grad_input, grad_weight[, grad_bias]): the parameters' gradients are sums over the outer dimensions.
std::vector<Strategy> norm_backward(const Call& call) {
  std::vector<Strategy> strategies;
  for (int64_t dim = 0; dim < num_outer_dims(call, call.operand("input")); ++dim) {
    Strategy strategy = call.strategy({{"grad_out", shard(dim)}, {"input", shard(dim)}, {"rstd", shard(dim)}},
                                      Placements(call.outputs.size(), partial()));
    if (call.has_argument("mean")) strategy.inputs[call.index_of("mean")] = shard(dim);
    strategy.outputs.front() = shard(dim);
    strategies.push_back(std::move(strategy));
  }
  return strategies;
}

std::vector<at::Tensor> norm_gradients(const Call& call) {
  const at::Tensor& input = call.operand("input").meta;
  const std::vector<bool> wanted = call.argument("output_mask").toBoolList().vec();
  std::vector<at::Tensor> gradients;
  for (size_t i = 0; i < wanted.size(); ++i) {
    gradients.push_back(!wanted[i] ? at::Tensor()
                        : i == 0   ? at::empty_like(input)
                                   : call.operand("weight").meta.new_empty(call.integers("normalized_shape")));
  }
  return gradients;
}

}  // namespace

void add_normalization_rules(RuleTable& table) {
  table.begin_family("normalisation");
  table.add({"aten::_softmax", "aten::_log_softmax"}, {.per_axis = softmax, .kernel = local_softmax});
  table.add({"aten::_softmax_backward_data", "aten::_log_softmax_backward_data"},
            {.per_axis = softmax, .kernel = local_softmax_backward});
  table.add({"aten::native_layer_norm"}, {.per_axis = norm, .outputs = result_and_statistics});
  table.add({"aten::_fused_rms_norm"}, {.per_axis = norm, .outputs = result_and_statistic});
  table.add({"aten::native_layer_norm_backward", "aten::_fused_rms_norm_backward"},
            {.per_axis = norm_backward, .outputs = norm_gradients});
}

}  // namespace titan::dtensor
