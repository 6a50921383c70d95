// Losses. The number of elements in a mean is the global one.
#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/zeros_like.h>

#include "titan/dtensor/mesh_state.h"
#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/across_ranks.h"
#include "titan/dtensor/rules/families.h"
#include "titan/dtensor/rules/local_indices.h"
#include "titan/dtensor/rules/strategies.h"

namespace titan::dtensor {
namespace {

using torch::jit::Stack;

// --- negative log likelihood ---

// self: [rows, classes] or [classes]; target: [rows] or []. Classes may be sharded: each rank has the terms of the
// targets that are its own.
std::vector<Strategy> nll_loss(const Call& call) {
  const int64_t class_dim = call.operand("self").dim() - 1;
  const bool is_mean = call.integer("reduction") == at::Reduction::Mean;
  const bool is_sum = call.integer("reduction") == at::Reduction::Sum;
  std::vector<Strategy> strategies;
  strategies.push_back(call.strategy({{"self", shard(class_dim)}}, {partial(), replicate()}));
  if (class_dim == 1 && !is_mean) {
    // The total weight is a sum over rows too.
    strategies.push_back(call.strategy({{"self", shard(0)}, {"target", shard(0)}},
                                       {is_sum ? partial() : shard(0), is_sum ? partial() : replicate()}));
  }
  if (class_dim == 1 && is_mean) {
    strategies.push_back(call.strategy({{"self", shard(0)}, {"target", shard(0)}}, {partial(), replicate()}));
  }
  return strategies;
}

// Where `self` is sharded by classes.
Groups class_groups(const Call& call, const Spec& self) { return groups_along(self, {call.operand("self").dim() - 1}); }
Groups row_groups(const Call& call, const Spec& self) {
  return call.operand("self").dim() == 2 ? groups_along(self, {0}) : Groups{};
}

// Weights of the targets, 0 for those that are ignored. [rows]
at::Tensor target_weights(const at::Tensor& target, const c10::optional<at::Tensor>& weight, int64_t ignored,
                          const at::TensorOptions& options) {
  const at::Tensor counts = target.ne(ignored);
  if (!weight.has_value() || !weight->defined()) return counts.to(options.dtype());
  return weight->index_select(0, target.flatten().clamp_min(0)).view_as(target) * counts;
}

LocalKernel local_nll_loss(const Call& call, const Placed& placed) {
  const Spec& spec = *placed.inputs[0];
  const Groups rows = row_groups(call, spec);
  if (class_groups(call, spec).empty() && rows.empty()) return {};
  const int64_t class_dim = call.operand("self").dim() - 1;
  const Segments classes = spec.segments(class_dim);
  return [=](const c10::OperatorHandle&, Stack& stack) {
    const auto arguments = stack.end() - 5;
    const at::Tensor self = arguments[0].toTensor(), target = arguments[1].toTensor();
    const auto weight = arguments[2].toOptional<at::Tensor>();
    const int64_t reduction = arguments[3].toInt(), ignored = arguments[4].toInt();
    stack.erase(arguments, stack.end());
    const at::Tensor weights = target_weights(target, weight, ignored, self.options());
    at::Tensor terms = at::zeros_like(weights);
    if (!classes.empty()) {
      const LocalIndices local = local_indices(target, classes);
      const at::Tensor picked = self.gather(class_dim, local.indices.unsqueeze(-1)).squeeze(-1);
      terms = (picked * weights).neg().masked_fill_(local.is_elsewhere, 0);
    }
    at::Tensor total = weights.sum();
    if (reduction == at::Reduction::None) {
      stack.emplace_back(terms);
      stack.emplace_back(at::zeros_like(total));
      return;
    }
    if (reduction == at::Reduction::Mean) {
      total = all_reduced(total, ReduceOp::kSum, rows);
      stack.emplace_back(terms.sum() / total);
    } else {
      stack.emplace_back(terms.sum());
    }
    stack.emplace_back(total);
  };
}

std::vector<Strategy> nll_loss_backward(const Call& call) {
  const int64_t class_dim = call.operand("self").dim() - 1;
  std::vector<Strategy> strategies;
  strategies.push_back(call.strategy({{"self", shard(class_dim)}}, {shard(class_dim)}));
  if (class_dim == 1) {
    const bool by_row = call.integer("reduction") == at::Reduction::None;
    strategies.push_back(call.strategy(
        {{"grad_output", by_row ? shard(0) : replicate()}, {"self", shard(0)}, {"target", shard(0)}}, {shard(0)}));
  }
  return strategies;
}

LocalKernel local_nll_loss_backward(const Call& call, const Placed& placed) {
  const Spec& spec = *placed.inputs[call.index_of("self")];
  if (class_groups(call, spec).empty()) return {};
  const int64_t class_dim = call.operand("self").dim() - 1;
  const Segments classes = spec.segments(class_dim);
  return [=](const c10::OperatorHandle&, Stack& stack) {
    const auto arguments = stack.end() - 7;
    const at::Tensor grad_output = arguments[0].toTensor(), self = arguments[1].toTensor();
    const at::Tensor target = arguments[2].toTensor(), total = arguments[6].toTensor();
    const auto weight = arguments[3].toOptional<at::Tensor>();
    const int64_t reduction = arguments[4].toInt(), ignored = arguments[5].toInt();
    stack.erase(arguments, stack.end());
    at::Tensor result = at::zeros_like(self);
    if (!classes.empty()) {
      const LocalIndices local = local_indices(target, classes);
      at::Tensor grad = -grad_output * target_weights(target, weight, ignored, self.options());
      if (reduction == at::Reduction::Mean) grad = grad / total;
      result.scatter_(class_dim, local.indices.unsqueeze(-1), grad.masked_fill(local.is_elsewhere, 0).unsqueeze(-1));
    }
    stack.emplace_back(result);
  };
}

// --- differences ---

// loss(self, target, reduction, ...)
std::vector<Strategy> difference(const Call& call) {
  if (call.integer("reduction") == at::Reduction::None) return elementwise(call);
  std::vector<Strategy> strategies;
  for (int64_t dim = 0; dim < call.operand("self").dim(); ++dim) {
    if (call.operand("self").sizes() != call.operand("target").sizes()) break;
    strategies.push_back(call.strategy({{"self", shard(dim)}, {"target", shard(dim)}}, {partial()}));
  }
  return strategies;
}

// A mean of a part is a sum over the number of all elements.
LocalKernel sum_over_all(const Call& call, const Placed& placed) {
  if (call.integer("reduction") != at::Reduction::Mean || placed.inputs[0] == nullptr) return {};
  const Spec& self = *placed.inputs[call.index_of("self")];
  if (c10::multiply_integers(self.local_sizes) == self.numel()) return {};
  const auto reduction = static_cast<int64_t>(*call.schema.argumentIndexWithName("reduction"));
  return [=, num_arguments = static_cast<int64_t>(call.schema.arguments().size()),
          count = static_cast<double>(self.numel())](const c10::OperatorHandle& op, Stack& stack) {
    (stack.end() - num_arguments)[reduction] = static_cast<int64_t>(at::Reduction::Sum);
    op.callBoxed(stack);
    stack.back() = stack.back().toTensor() / count;
  };
}

std::vector<at::Tensor> difference_outputs(const Call& call) {
  if (call.integer("reduction") == at::Reduction::None) return elementwise_outputs(call);
  return {call.operand("self").meta.new_empty({})};
}

std::vector<Strategy> difference_backward(const Call& call) { return elementwise(call); }

}  // namespace

void add_loss_rules(RuleTable& table) {
  table.begin_family("loss");
  table.add({"aten::nll_loss_forward"}, {.per_axis = nll_loss, .kernel = local_nll_loss});
  table.add({"aten::nll_loss_backward"}, {.per_axis = nll_loss_backward, .kernel = local_nll_loss_backward});
  table.add({"aten::mse_loss", "aten::smooth_l1_loss", "aten::huber_loss", "aten::binary_cross_entropy"},
            {.per_axis = difference, .kernel = sum_over_all, .outputs = difference_outputs});
  table.add({"aten::mse_loss_backward", "aten::smooth_l1_loss_backward", "aten::huber_loss_backward",
             "aten::binary_cross_entropy_backward"},
            {.per_axis = difference_backward, .kernel = sum_over_all, .outputs = elementwise_outputs});
}

}  // namespace titan::dtensor
