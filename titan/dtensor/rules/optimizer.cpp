// Operators on lists of tensors: foreach and the fused optimizers. The i-th tensors of all lists belong together: the
// others are placed as the first list's is. Each such slot may be on a mesh of its own, or plain.
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <map>

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

// The slots that are sharded over the same groups share their all_reduces.
LocalKernel local_norms(const Call& call, const Placed& placed) {
  // In the order of first slots, which is the same on every rank.
  std::vector<std::pair<Groups, std::vector<int64_t>>> slots_by_groups;
  for (size_t i = 0; i < call.operands.size(); ++i) {
    const Spec* const spec = placed.inputs[i];
    if (spec == nullptr) continue;
    std::vector<int64_t> dims;
    for (int64_t dim = 0; dim < spec->dim(); ++dim) dims.push_back(dim);
    const Groups groups = groups_along(*spec, dims);
    if (groups.empty()) continue;
    auto known = std::find_if(slots_by_groups.begin(), slots_by_groups.end(),
                              [&](const auto& entry) { return entry.first == groups; });
    if (known == slots_by_groups.end()) known = slots_by_groups.insert(known, {groups, {}});
    known->second.push_back(call.operands[i].index);
  }
  const double order = call.argument("ord").toScalar().toDouble();
  TORCH_CHECK_NOT_IMPLEMENTED(order > 0 || slots_by_groups.empty(), "DTensor: ", call.text(),
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
    for (const auto& [groups, slots] : slots_by_groups) {
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

// Names of foreach operators: functional and in place.
void add_foreach(RuleTable& table, std::initializer_list<std::string_view> operators, Rule rule) {
  for (const std::string_view op : operators) {
    const size_t dot = op.find('.');
    const std::string name = "aten::_foreach_" + std::string(op.substr(0, dot));
    const std::string overload(dot == op.npos ? "" : op.substr(dot));
    rule.outputs = nullptr;
    table.add({name + overload}, rule);
    rule.outputs = nothing;  // what is in place returns nothing
    table.add({name + "_" + overload}, rule);
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
  // Gradients are written only to be unscaled, which nobody reads.
  table.add(
      {"aten::_fused_adam_", "aten::_fused_adam_.tensor_lr", "aten::_fused_adamw_", "aten::_fused_adamw_.tensor_lr",
       "aten::_fused_sgd_", "aten::_fused_sgd_.tensor_lr", "aten::_fused_adagrad_"},
      {.whole_mesh = elementwise_slots, .outputs = nothing, .scratch = "grads", .several_meshes = true});
}

}  // namespace titan::dtensor
