// Operators on lists of tensors: foreach and the fused optimizers. The i-th tensors of all lists belong together: the
// others are placed as the first list's is. Each such slot may be on a mesh of its own, or plain.
#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "titan/dtensor/mesh_state.h"
#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/across_ranks.h"
#include "titan/dtensor/rules/families.h"

namespace titan::dtensor {
namespace {

using torch::jit::Stack;

std::vector<at::Tensor> nothing(const Call&) { return {}; }

// The operand of the first list that has this index.
const Operand& first_of_slot(const Call& call, int64_t index) {
  for (const Operand& operand : call.operands) {
    if (operand.index == index) return operand;
  }
  TORCH_INTERNAL_ASSERT(false, "a slot without a tensor");
}

void check_slot(const Call& call, const Operand& operand, const Operand& first) {
  if (operand.dim() == 0 && first.spec != nullptr) return;  // the count of steps
  TORCH_CHECK_VALUE((operand.spec == nullptr) == (first.spec == nullptr), "DTensor: ", call.text(), ": tensor ",
                    operand.index, " of a list is a DTensor and of another is not");
  TORCH_CHECK_VALUE(operand.spec == nullptr || operand.spec->mesh == first.spec->mesh, "DTensor: ", call.text(),
                    ": the tensors ", operand.index, " of the lists are on different meshes");
}

Placements without_terms(const Call& call, const Operand& operand) {
  Placements placements = operand.spec->placements;
  for (Placement& placement : placements) {
    if (!placement.is_partial()) continue;
    TORCH_CHECK_NOT_IMPLEMENTED(!operand.is_written, "DTensor: ", call.text(),
                                ": what is written in place would have to be redistributed; do that before");
    placement = replicate();
  }
  return placements;
}

Sharding by_slot(const Call& call, bool keeps_terms) {
  Sharding sharding;
  for (const Operand& operand : call.operands) {
    if (operand.spec == nullptr) {
      if (operand.index >= 0) check_slot(call, operand, first_of_slot(call, operand.index));
      sharding.inputs.emplace_back();
      continue;
    }
    if (operand.index < 0) {  // one number for all slots
      sharding.inputs.emplace_back(operand.spec->placements.size());
      continue;
    }
    const Operand& first = first_of_slot(call, operand.index);
    check_slot(call, operand, first);
    if (first.spec == nullptr || operand.sizes() != first.sizes()) {
      sharding.inputs.emplace_back(operand.spec->placements.size());
    } else {
      sharding.inputs.push_back(keeps_terms ? first.spec->placements : without_terms(call, first));
    }
  }
  for (const Output& output : call.outputs) {
    const Operand& first = first_of_slot(call, output.index);
    const auto index = static_cast<size_t>(&first - call.operands.data());
    sharding.outputs.push_back(sharding.inputs[index]);
    sharding.output_meshes.push_back(first.spec == nullptr ? nullptr : first.spec->mesh);
  }
  return sharding;
}

// Linear in all lists together: terms go through.
Sharding additive(const Call& call) { return by_slot(call, /*keeps_terms=*/true); }
Sharding elementwise_slots(const Call& call) { return by_slot(call, /*keeps_terms=*/false); }

// --- norms ---

// Each result is a number on every rank. Terms are reduced into shards, of which the norm is joined.
Sharding norms(const Call& call) {
  Sharding sharding = additive(call);
  for (size_t i = 0; i < call.operands.size(); ++i) {
    for (Placement& placement : sharding.inputs[i]) {
      if (placement.is_partial()) placement = call.operands[i].dim() > 0 ? shard(0) : replicate();
    }
  }
  for (Placements& output : sharding.outputs) output.assign(output.size(), replicate());
  return sharding;
}

// Which slots are sharded over the same groups, in the order of first slots, which is the same on every rank.
using SlotsByGroups = std::vector<std::pair<Groups, std::vector<int64_t>>>;

SlotsByGroups slots_by_groups(const Call& call, const Placed& placed) {
  SlotsByGroups all;
  for (size_t i = 0; i < call.operands.size(); ++i) {
    Groups groups;
    if (const Spec* const spec = placed.inputs[i]) {
      std::vector<int64_t> dims(spec->sizes.size());
      std::iota(dims.begin(), dims.end(), 0);
      groups = groups_along(*spec, dims);
    }
    auto known = std::find_if(all.begin(), all.end(), [&](const auto& entry) { return entry.first == groups; });
    if (known == all.end()) known = all.insert(known, {groups, {}});
    known->second.push_back(call.operands[i].index);
  }
  return all;
}

// Slots with the same groups share their all_reduces.
LocalKernel local_norms(const Call& call, const Placed& placed) {
  SlotsByGroups sharded = slots_by_groups(call, placed);
  std::erase_if(sharded, [](const auto& entry) { return entry.first.empty(); });
  const double order = call.argument("ord").toScalar().toDouble();
  TORCH_CHECK_NOT_IMPLEMENTED(order > 0 || sharded.empty(), "DTensor: ", call.text(),
                              ": expected an order above 0, got ", order);
  return [=](const c10::OperatorHandle&, Stack& stack) {
    std::vector<at::Tensor> locals = stack.end()[-3].toTensorVector();
    const auto dtype = stack.end()[-1].toOptional<at::ScalarType>();
    stack.resize(stack.size() - 3);
    // The norm of nothing is 0, of any order.
    for (at::Tensor& local : locals) {
      if (local.numel() == 0) local = at::zeros({1}, local.options());
    }
    std::vector<at::Tensor> results = at::_foreach_norm(locals, order, dtype);
    for (const auto& [groups, slots] : sharded) {
      std::map<at::ScalarType, std::vector<int64_t>> by_dtype;
      for (const int64_t slot : slots) by_dtype[results[slot].scalar_type()].push_back(slot);
      for (const auto& [type, same] : by_dtype) {
        std::vector<at::Tensor> parts;
        for (const int64_t slot : same) parts.push_back(results[slot]);
        at::Tensor joined = at::stack(parts);
        joined = std::isinf(order) ? all_reduced(joined, ReduceOp::kMax, groups)
                                   : all_reduced(joined.pow(order), ReduceOp::kSum, groups).pow(1 / order);
        for (size_t i = 0; i < same.size(); ++i) results[same[i]] = joined[static_cast<int64_t>(i)];
      }
    }
    stack.emplace_back(std::move(results));
  };
}

// titan::sum_of_squares(tensors): one number, on every rank.
Sharding sum_of_squares(const Call& call) {
  Sharding sharding = norms(call);
  sharding.outputs = {Placements(call.mesh->sizes.size())};
  sharding.output_meshes.clear();
  return sharding;
}

std::vector<at::Tensor> number(const Call& call) {
  return {call.operands.front().meta.new_empty({}, at::TensorOptions().dtype(at::kDouble))};
}

LocalKernel local_sum_of_squares(const Call& call, const Placed& placed) {
  return [slots = slots_by_groups(call, placed)](const c10::OperatorHandle& op, Stack& stack) {
    const std::vector<at::Tensor> locals = stack.back().toTensorVector();
    stack.pop_back();
    at::Tensor sum;
    for (const auto& [groups, its_slots] : slots) {
      std::vector<at::Tensor> some;
      for (const int64_t slot : its_slots) some.push_back(locals[slot]);
      Stack arguments{some};
      op.callBoxed(arguments);
      const at::Tensor term = all_reduced(arguments.front().toTensor(), ReduceOp::kSum, groups);
      sum = sum.defined() ? sum + term : term;
    }
    stack.emplace_back(std::move(sum));
  };
}

// --- fused optimizers ---

// Their kernels walk through the memory of a slot's tensors side by side, so all must have the strides of the first.
// Global strides say nothing of that: local parts come from other operators than those of a single device.
LocalKernel with_equal_strides(const Call& call, const Placed&) {
  const size_t num_arguments = call.schema.arguments().size();
  std::vector<size_t> lists;
  for (size_t i = 0; i < num_arguments; ++i) {
    if (call.arguments[i].isTensorList() && call.schema.arguments()[i].name() != "state_steps") lists.push_back(i);
  }
  return [=](const c10::OperatorHandle& op, Stack& stack) {
    c10::IValue* const arguments = &*(stack.end() - static_cast<int64_t>(num_arguments));
    const std::vector<at::Tensor> parameters = arguments[lists.front()].toTensorVector();
    std::vector<std::pair<at::Tensor, at::Tensor>> copies;  // of what
    for (const size_t list : lists) {
      std::vector<at::Tensor> tensors = arguments[list].toTensorVector();
      for (size_t i = 0; i < tensors.size(); ++i) {
        const at::Tensor& parameter = parameters[i];
        const bool dense = parameter.is_non_overlapping_and_dense();
        if (dense ? tensors[i].strides() == parameter.strides() : tensors[i].is_contiguous()) continue;
        const at::Tensor copy = dense ? at::empty_strided(parameter.sizes(), parameter.strides(), tensors[i].options())
                                      : at::empty(parameter.sizes(), tensors[i].options());
        copies.emplace_back(copy.copy_(tensors[i]), tensors[i]);
        tensors[i] = copy;
      }
      arguments[list] = std::move(tensors);
    }
    op.callBoxed(stack);
    for (const auto& [copy, original] : copies) original.copy_(copy);
  };
}

// Names of foreach operators: functional and in place.
void add_foreach(RuleTable& table, std::initializer_list<std::string_view> operators, Rule rule) {
  for (const std::string_view op : operators) {
    const size_t dot = op.find('.');
    const std::string_view name = op.substr(0, dot), overload = dot == op.npos ? "" : op.substr(dot);
    rule.outputs = nullptr;
    table.add({fmt::format("aten::_foreach_{}{}", name, overload)}, rule);
    rule.outputs = nothing;  // what is in place returns nothing
    table.add({fmt::format("aten::_foreach_{}_{}", name, overload)}, rule);
  }
}

}  // namespace

void add_optimizer_rules(RuleTable& table) {
  table.begin_family("optimizer");
  add_foreach(table,
              {"add.List", "sub.List", "lerp.Scalar", "mul.Scalar", "mul.ScalarList", "mul.Tensor", "div.Scalar",
               "div.ScalarList", "div.Tensor", "neg"},
              {.whole_mesh = additive, .several_meshes = true});
  table.add({"aten::_foreach_copy_", "aten::_foreach_zero_"},
            {.whole_mesh = additive, .outputs = nothing, .several_meshes = true});
  add_foreach(table,
              {"abs",
               "add.Scalar",
               "add.ScalarList",
               "add.Tensor",
               "addcdiv.Scalar",
               "addcdiv.ScalarList",
               "addcdiv.Tensor",
               "addcmul.Scalar",
               "addcmul.ScalarList",
               "addcmul.Tensor",
               "clamp_max.List",
               "clamp_max.Scalar",
               "clamp_max.ScalarList",
               "clamp_min.List",
               "clamp_min.Scalar",
               "clamp_min.ScalarList",
               "div.List",
               "exp",
               "lerp.List",
               "lerp.ScalarList",
               "log",
               "maximum.List",
               "maximum.Scalar",
               "maximum.ScalarList",
               "minimum.List",
               "minimum.Scalar",
               "minimum.ScalarList",
               "mul.List",
               "pow.List",
               "pow.Scalar",
               "pow.ScalarList",
               "reciprocal",
               "round",
               "rsqrt",
               "sigmoid",
               "sign",
               "sqrt",
               "sub.Scalar",
               "sub.ScalarList",
               "tanh"},
              {.whole_mesh = elementwise_slots, .several_meshes = true});
  table.add({"aten::_foreach_norm.Scalar"},
            {.whole_mesh = norms, .kernel = local_norms, .numbers_matter = true, .several_meshes = true});
  table.add({"titan::sum_of_squares"},
            {.whole_mesh = sum_of_squares, .kernel = local_sum_of_squares, .outputs = number, .several_meshes = true});
  // Gradients are written only to be unscaled, which nobody reads.
  table.add(
      {"aten::_fused_adam_", "aten::_fused_adam_.tensor_lr", "aten::_fused_adamw_", "aten::_fused_adamw_.tensor_lr",
       "aten::_fused_sgd_", "aten::_fused_sgd_.tensor_lr", "aten::_fused_adagrad_"},
      {.whole_mesh = elementwise_slots,
       .kernel = with_equal_strides,
       .outputs = nothing,
       .scratch = "grads",
       .several_meshes = true});
}

}  // namespace titan::dtensor
