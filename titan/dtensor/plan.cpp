#include "titan/dtensor/plan.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty_strided.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <optional>

#include "titan/dtensor/dtensor_impl.h"
#include "titan/dtensor/redistribute.h"

namespace titan::dtensor {
namespace {

std::string name_of(const c10::OperatorHandle& op) {
  const c10::OperatorName& name = op.operator_name();
  return name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
}

// The annotation of a list's tensors is inside the list's.
bool is_written(const c10::Argument& argument) {
  const c10::AliasInfo* const alias = argument.alias_info();
  if (alias == nullptr) return false;
  const auto& inside = alias->containedTypes();
  return alias->isWrite() || std::any_of(inside.begin(), inside.end(), [](const auto& type) { return type.isWrite(); });
}

at::Tensor meta_like(const at::Tensor& tensor) {
  return at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options().device(at::kMeta).requires_grad(false));
}

// --- the call as rules see it ---

class CallReader {
 public:
  CallReader(const c10::OperatorHandle& op, const torch::jit::Stack& stack, std::string_view scratch)
      : op_(op), scratch_(scratch), call_{.schema = op.schema()} {
    const auto num_arguments = static_cast<int64_t>(op.schema().arguments().size());
    call_.arguments.assign(stack.end() - num_arguments, stack.end());
    for (int64_t i = 0; i < num_arguments; ++i) read_argument(i);
  }

  Call take() { return std::move(call_); }

 private:
  void read_argument(int64_t argument) {
    c10::IValue& value = call_.arguments[argument];
    if (value.isTensor()) {
      if (value.toTensor().defined()) value = read_tensor(value.toTensor(), argument, -1);
    } else if (value.isDevice()) {
      value = c10::Device(c10::kMeta);
    } else if (value.isGenerator()) {
      value = c10::IValue();
    } else if (value.isList()) {
      c10::List<c10::IValue> list = value.toList().copy();
      for (size_t i = 0; i < list.size(); ++i) {
        const c10::IValue& element = list.get(i);
        if (element.isTensor() && element.toTensor().defined()) {
          list.set(i, read_tensor(element.toTensor(), argument, static_cast<int64_t>(i)));
        }
      }
      value = list;
    }
  }

  at::Tensor read_tensor(const at::Tensor& tensor, int64_t argument, int64_t index) {
    Operand operand{.argument = argument, .index = index, .meta = meta_like(tensor)};
    const c10::Argument& its_argument = op_.schema().arguments()[argument];
    operand.is_written = is_written(its_argument) && its_argument.name() != scratch_;
    if (const DTensorImpl* const impl = dtensor_impl(tensor)) {
      operand.spec = &impl->spec();
      if (call_.mesh == nullptr) {
        call_.mesh = operand.spec->mesh;
        call_.device = tensor.device();
      }
    }
    call_.operands.push_back(operand);
    return operand.meta;
  }

  const c10::OperatorHandle& op_;
  std::string_view scratch_;  // the argument whose writes do not count
  Call call_;
};

// --- its outputs ---

// The operand that a result is or shares memory with, by the schema's annotations: index'th of those at an argument.
int64_t operand_at(const Call& call, int64_t argument, int64_t index) {
  for (size_t i = 0; i < call.operands.size(); ++i) {
    const Operand& operand = call.operands[i];
    if (operand.argument == argument && operand.index == index) return static_cast<int64_t>(i);
  }
  return -1;
}

void add_output(Call& call, int64_t result, int64_t index, const at::Tensor& meta) {
  Output output{.result = result, .index = index, .meta = meta};
  const auto& arguments = call.schema.arguments();
  const c10::AliasInfo* const alias = call.schema.returns()[result].alias_info();
  for (int64_t i = 0; i < static_cast<int64_t>(arguments.size()); ++i) {
    const c10::AliasInfo* const from = arguments[i].alias_info();
    if (from == nullptr) continue;
    if (is_written(arguments[i])) {
      if (alias != nullptr && alias->beforeSets() == from->beforeSets()) output.operand = operand_at(call, i, index);
    } else if (output.view_of < 0) {
      output.view_of = operand_at(call, i, -1);
    }
  }
  call.outputs.push_back(std::move(output));
}

void infer_outputs(Call& call, const c10::OperatorHandle& op, const Rule& rule) {
  if (rule.outputs != nullptr) {
    const std::vector<at::Tensor> outputs = rule.outputs(call);
    for (size_t i = 0; i < outputs.size(); ++i) add_output(call, static_cast<int64_t>(i), -1, outputs[i]);
    return;
  }
  torch::jit::Stack stack = call.arguments;
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    op.callBoxed(stack);
  }
  for (size_t i = 0; i < stack.size(); ++i) {
    const auto result = static_cast<int64_t>(i);
    if (stack[i].isTensor()) {
      add_output(call, result, -1, stack[i].toTensor());
    } else if (stack[i].isTensorList()) {
      const std::vector<at::Tensor> list = stack[i].toTensorVector();
      for (size_t k = 0; k < list.size(); ++k) add_output(call, result, static_cast<int64_t>(k), list[k]);
    }
  }
}

// --- the choice among strategies ---

// The same strategy for StridedShards.
Strategy with_split_factor(Strategy strategy, int32_t split_factor) {
  for (Placements* placements : {&strategy.inputs, &strategy.outputs}) {
    for (Placement& placement : *placements) {
      if (placement.is_shard()) placement.split_factor = split_factor;
    }
  }
  return strategy;
}

class StrategyChooser {
 public:
  StrategyChooser(const Call& call, const Rule& rule) : call_(call), rule_(rule) {
    std::vector<Strategy> listed = rule.per_axis(call);
    listed.push_back(call.replicated());
    for (Strategy& strategy : listed) bind_out_arguments(strategy);
    const auto num_axes = static_cast<int64_t>(call.mesh->sizes.size());
    for (int64_t axis = 0; axis < num_axes; ++axis) candidates_.push_back(candidates_on(axis, listed));
    chosen_.resize(static_cast<size_t>(num_axes));
  }

  std::optional<Sharding> choose() {
    try_axis(0);
    return std::move(best_);
  }

 private:
  // An out= tensor is not read: it is placed as the result is.
  void bind_out_arguments(Strategy& strategy) const {
    for (size_t i = 0; i < call_.outputs.size(); ++i) {
      const int64_t operand = call_.outputs[i].operand;
      if (operand >= 0 && is_out(operand)) strategy.inputs[operand] = strategy.outputs[i];
    }
  }
  bool is_out(int64_t operand) const { return call_.schema.arguments()[call_.operands[operand].argument].is_out(); }

  std::vector<Strategy> candidates_on(int64_t axis, const std::vector<Strategy>& listed) const {
    std::vector<int32_t> split_factors{1};
    for (const Operand& operand : call_.operands) {
      const int32_t factor = operand.placement(axis).is_shard() ? operand.placement(axis).split_factor : 1;
      if (std::find(split_factors.begin(), split_factors.end(), factor) == split_factors.end()) {
        split_factors.push_back(factor);
      }
    }
    std::vector<Strategy> candidates;
    for (const Strategy& strategy : listed) {
      for (const int32_t factor : split_factors) {
        Strategy candidate = factor == 1 ? strategy : with_split_factor(strategy, factor);
        if (is_allowed(candidate, axis)) candidates.push_back(std::move(candidate));
      }
    }
    return candidates;
  }

  // Plain tensors are whole on every rank. What is written stays where it is, but for [Note: writing terms]. On one
  // rank all placements are the same.
  bool is_allowed(const Strategy& strategy, int64_t axis) const {
    if (call_.mesh->sizes[axis] == 1) return true;
    for (size_t i = 0; i < call_.operands.size(); ++i) {
      const Operand& operand = call_.operands[i];
      const Placement placement = operand.placement(axis);
      if (strategy.inputs[i] == placement) continue;
      if (operand.spec == nullptr) return false;
      if (!operand.is_written) continue;
      const bool may_move = is_out(static_cast<int64_t>(i)) ? is_resized(i) : placement.is_partial();
      if (!may_move) return false;
    }
    return true;
  }
  // An out= tensor of another size takes the result's size, and then its placement as well.
  bool is_resized(size_t operand) const {
    for (const Output& output : call_.outputs) {
      if (output.operand == static_cast<int64_t>(operand)) return call_.operands[operand].spec->sizes != output.sizes();
    }
    return false;
  }

  void try_axis(size_t axis) {
    if (axis == candidates_.size()) return judge();
    for (const Strategy& strategy : candidates_[axis]) {
      chosen_[axis] = &strategy;
      try_axis(axis + 1);
    }
  }

  void judge() {
    const size_t num_axes = chosen_.size();
    double cost = 0;
    int64_t num_changes = 0, num_sharded = 0;
    std::vector<Placements> inputs(call_.operands.size(), Placements(num_axes));
    for (size_t i = 0; i < inputs.size(); ++i) {
      for (size_t axis = 0; axis < num_axes; ++axis) inputs[i][axis] = chosen_[axis]->inputs[i];
      const Operand& operand = call_.operands[i];
      if (operand.spec == nullptr || is_out(static_cast<int64_t>(i))) continue;
      cost += plan_redistribution(*operand.spec, inputs[i]).cost;
      if (best_.has_value() && cost > best_cost_) return;
      for (size_t axis = 0; axis < num_axes; ++axis) {
        num_changes += operand.spec->placements[axis] == inputs[i][axis] ? 0 : 1;
        num_sharded += inputs[i][axis].is_shard() ? 1 : 0;
      }
    }
    if (rule_.fits != nullptr && !rule_.fits(call_, inputs)) return;
    // Equal costs: what changes least, then what is least done twice.
    const auto rank = std::make_tuple(cost, num_changes, -num_sharded);
    if (best_.has_value() && rank >= std::make_tuple(best_cost_, best_changes_, -best_sharded_)) return;
    best_cost_ = cost;
    best_changes_ = num_changes;
    best_sharded_ = num_sharded;
    std::vector<Placements> outputs(call_.outputs.size(), Placements(num_axes));
    for (size_t i = 0; i < outputs.size(); ++i) {
      for (size_t axis = 0; axis < num_axes; ++axis) outputs[i][axis] = chosen_[axis]->outputs[i];
    }
    best_ = Sharding{std::move(inputs), std::move(outputs), {}};
  }

  const Call& call_;
  const Rule& rule_;
  std::vector<std::vector<Strategy>> candidates_;  // by axis
  std::vector<const Strategy*> chosen_;            // by axis
  std::optional<Sharding> best_;
  double best_cost_ = 0;
  int64_t best_changes_ = 0, best_sharded_ = 0;
};

// --- working it out ---

Placed place(const Call& call, const Sharding& sharding) {
  Placed placed;
  for (size_t i = 0; i < call.operands.size(); ++i) {
    const Operand& operand = call.operands[i];
    placed.inputs.push_back(operand.spec == nullptr ? nullptr : with_placements(*operand.spec, sharding.inputs[i]));
  }
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    const at::Tensor& meta = call.outputs[i].meta;
    MeshState* const mesh = sharding.output_meshes.empty() ? call.mesh : sharding.output_meshes[i];
    placed.outputs.push_back(mesh == nullptr || !meta.defined() ? nullptr
                                                                : intern_spec(*mesh, sharding.outputs[i], meta.sizes(),
                                                                              meta.strides(), meta.scalar_type()));
  }
  return placed;
}

void fill_results(Plan& plan, const Call& call, const Placed& placed) {
  plan.results.resize(call.schema.returns().size());
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    const Output& output = call.outputs[i];
    Plan::Result& result = plan.results[output.result];
    if (result.begin == result.end) result.begin = static_cast<int64_t>(i);
    result.end = static_cast<int64_t>(i) + 1;
    result.is_list = output.index >= 0;
    const int64_t offset = output.view_of >= 0 ? output.meta.storage_offset() : 0;
    plan.outputs.push_back(
        {.spec = placed.outputs[i], .input = output.operand, .view_of = output.view_of, .storage_offset = offset});
  }
}

void fill_inputs(Plan& plan, const Call& call, const Placed& placed) {
  for (size_t i = 0; i < call.operands.size(); ++i) {
    const Operand& operand = call.operands[i];
    Plan::Input input{.argument = operand.argument, .index = operand.index, .is_dtensor = operand.spec != nullptr};
    const bool is_out = operand.is_written && call.schema.arguments()[operand.argument].is_out();
    if (input.is_dtensor && !is_out && placed.inputs[i] != operand.spec) {
      const RedistributePlan& path = plan_redistribution(*operand.spec, placed.inputs[i]->placements);
      if (!path.transitions.empty()) input.redistribution = &path;
    }
    plan.inputs.push_back(input);
    if (!operand.is_written || operand.spec == nullptr) continue;
    const auto result = std::find_if(call.outputs.begin(), call.outputs.end(),
                                     [i](const Output& output) { return output.operand == static_cast<int64_t>(i); });
    // foreach in place returns nothing: what is written stays as it is.
    const Spec* const after =
        result == call.outputs.end() ? operand.spec : placed.outputs[result - call.outputs.begin()];
    plan.written.emplace_back(static_cast<int64_t>(i), after);
  }
}

void check_operands(const Call& call, const Rule& rule) {
  if (rule.several_meshes) return;
  for (const Operand& operand : call.operands) {
    TORCH_CHECK_VALUE(operand.spec == nullptr || operand.spec->mesh == call.mesh,
                      "DTensor: expected operands on one mesh, got ", call.text(), "; redistribute one of them");
    TORCH_CHECK_VALUE(operand.spec != nullptr || operand.may_be_plain, "DTensor: expected DTensors only, got ",
                      call.text(), "; wrap the plain tensor by from_local or distribute_tensor");
  }
}

}  // namespace

std::shared_ptr<const Plan> make_plan(const c10::OperatorHandle& op, const torch::jit::Stack& stack,
                                      bool is_in_backward) {
  const Rule* const rule = rule_table().find(name_of(op));
  Call call = CallReader(op, stack, rule == nullptr ? "" : rule->scratch).take();
  for (Operand& operand : call.operands) operand.may_be_plain = is_in_backward || operand.dim() == 0;
  auto plan = std::make_shared<Plan>();
  if (rule == nullptr || rule->decompose) {
    for (const auto key : {c10::DispatchKey::CompositeImplicitAutograd, c10::DispatchKey::CompositeExplicitAutograd}) {
      if (!op.hasKernelForDispatchKey(key) || (rule == nullptr && key != c10::DispatchKey::CompositeImplicitAutograd)) {
        continue;
      }
      plan->decompose = key;
      return plan;
    }
    TORCH_CHECK_NOT_IMPLEMENTED(false, "DTensor: no sharding rule for ", call.text());
  }
  check_operands(call, *rule);
  infer_outputs(call, op, *rule);

  std::optional<Sharding> sharding =
      rule->whole_mesh != nullptr ? rule->whole_mesh(call) : StrategyChooser(call, *rule).choose();
  TORCH_CHECK_NOT_IMPLEMENTED(sharding.has_value(), "DTensor: ", call.text(),
                              ": what is written in place would have to be redistributed; do that before");
  const Placed placed = place(call, *sharding);
  fill_inputs(*plan, call, placed);
  fill_results(*plan, call, placed);
  if (rule->local_arguments != nullptr) {
    std::vector<c10::IValue> arguments = call.arguments;
    rule->local_arguments(call, placed, arguments);
    for (size_t i = 0; i < arguments.size(); ++i) {
      if (!arguments[i].is(call.arguments[i])) plan->rewrites.emplace_back(static_cast<int64_t>(i), arguments[i]);
    }
  }
  if (rule->kernel != nullptr) plan->kernel = rule->kernel(call, placed);
  return plan;
}

}  // namespace titan::dtensor
