#include "titan/parallel/fsdp/fully_shard.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <map>
#include <string>

#include "titan/nn/recomputation.h"

namespace titan::parallel {
namespace {

using State = FsdpGroup::State;

using Slots = std::vector<nn::Parameter*>;

// By unit, the slots of each of its parameters, in order of registration.
std::vector<std::vector<Slots>> slots_by_parameter(const std::vector<FsdpUnit>& units) {
  std::vector<std::vector<Slots>> of_units;
  std::map<const at::TensorImpl*, std::pair<size_t, size_t>> known;  // unit, parameter of it
  for (size_t unit = 0; unit < units.size(); ++unit) {
    auto& of_unit = of_units.emplace_back();
    for (const nn::Module* module : units[unit].modules) {
      for (nn::Parameter* slot : module->parameters(/*with_tied=*/true)) {
        const auto [found, is_new] = known.try_emplace(slot->get().unsafeGetTensorImpl(), unit, of_unit.size());
        TORCH_CHECK_VALUE(found->second.first == unit, "fully_shard: expected each parameter in one unit, got ",
                          slot->fqn(), " in a second one; modules that share a parameter make up one unit");
        if (is_new) of_unit.emplace_back();
        of_unit[found->second.second].push_back(slot);
      }
    }
  }
  return of_units;
}

// "layers.7"; of several modules "norm, output".
std::string name_of(const FsdpUnit& unit) {
  std::string name;
  for (const nn::Module* module : unit.modules) name += (name.empty() ? "" : ", ") + module->fqn();
  return name;
}

}  // namespace

FullyShard::FullyShard(const std::vector<FsdpUnit>& units, const distributed::DeviceMesh& device_mesh,
                       const FsdpOptions& options) {
  const dtensor::Mesh mesh(device_mesh);
  const int64_t shard_axis = mesh.axis(options.shard_axis);
  const auto pool = std::make_shared<BufferPool>();
  std::vector<std::vector<Slots>> slots_of_units = slots_by_parameter(units);
  for (size_t i = 0; i < units.size(); ++i) {
    const FsdpUnit& unit = units[i];
    std::vector<FsdpParam> params;
    for (Slots& slots : slots_of_units[i]) params.emplace_back(std::move(slots), mesh, shard_axis);
    if (params.empty()) continue;
    const size_t index = units_.size();
    units_.push_back(
        {.group = std::make_unique<FsdpGroup>(std::move(params), mesh, shard_axis, options, pool, name_of(unit)),
         .last_module = unit.modules.back(),
         .reshard_after_forward = unit.reshard_after_forward,
         .num_modules = static_cast<int64_t>(unit.modules.size())});
    for (nn::Module* module : unit.modules) {
      hooks_.emplace_back(module,
                          module->register_use_hooks([this, index](nn::Module&) { before_use(index); },
                                                     [this, index](nn::Module& used) { after_use(index, used); }));
      hooks_.emplace_back(module, module->register_full_backward_pre_hook(
                                      [this, index](nn::Module&, const at::Tensor&) { before_backward(index); }));
      hooks_.emplace_back(
          module, module->register_gradients_ready_hook([this, index](nn::Module&) { gradients_ready(index); }));
    }
  }
}

FullyShard::~FullyShard() {
  for (const auto& [module, hook] : hooks_) module->remove_hook(hook);
}

void FullyShard::before_microbatch(bool last) {
  communicate_ = last;
  in_backward_ = false;
  for (Unit& unit : units_) unit.num_modules_left = unit.num_modules;
}

// --- forward ---

void FullyShard::before_use(size_t index) {
  make_whole(index);
  // What a backward computes again comes in the order of the backward, which prefetches for itself.
  if (!in_backward_ && !nn::is_recomputing() && index + 1 < units_.size()) prefetch(index + 1);
}

void FullyShard::after_use(size_t index, const nn::Module& module) {
  Unit& unit = units_[index];
  if (in_backward_ || nn::is_recomputing() || &module != unit.last_module) return;
  if (left_to_caller_) {
    if (unit.reshard_after_forward) unit.group->reshard();
    return;
  }
  const bool backward_follows = at::GradMode::is_enabled();
  if (unit.reshard_after_forward || !backward_follows) unit.group->reshard();
}

// --- backward ---

void FullyShard::before_backward(size_t index) {
  if (!left_to_caller_) in_backward_ = true;
  make_whole(index);
  if (index > 0) prefetch(index - 1);
}

void FullyShard::gradients_ready(size_t index) {
  if (left_to_caller_) return;
  Unit& unit = units_[index];
  if (--unit.num_modules_left > 0) return;
  if (unit.group->state() == State::kUnsharded) unit.group->reshard();
  if (!communicate_) {
    unit.group->accumulate_gradients();
    return;
  }
  finish_reduction();
  unit.group->reduce_gradients();
  reducing_ = unit.group.get();
}

void FullyShard::finish() {
  finish_reduction();
  in_backward_ = false;
  for (Unit& unit : units_) {
    TORCH_INTERNAL_ASSERT(left_to_caller_ || unit.num_modules_left == 0,
                          "a unit's backward did not run; its parameters begin with ",
                          unit.group->params().front().fqn());
    if (unit.group->is_reducing()) unit.group->wait_for_gradients();
  }
  reshard();
}

// --- at the caller's word ---

void FullyShard::unshard() {
  for (Unit& unit : units_) {
    if (unit.group->state() == State::kSharded) unit.group->unshard();
  }
}

void FullyShard::reshard() {
  for (Unit& unit : units_) {
    // Started for a neighbour's sake and not used since.
    if (unit.group->state() == State::kUnsharding) unit.group->wait_for_unshard();
    if (unit.group->state() == State::kUnsharded) unit.group->reshard();
  }
}

void FullyShard::accumulate_gradients() {
  for (Unit& unit : units_) unit.group->accumulate_gradients();
}

void FullyShard::reduce_gradients() {
  for (Unit& unit : units_) unit.group->reduce_gradients();
}

// --- what both need ---

void FullyShard::make_whole(size_t index) {
  FsdpGroup& group = *units_[index].group;
  if (group.state() == State::kSharded) group.unshard();
  if (group.state() == State::kUnsharding) group.wait_for_unshard();
}

void FullyShard::prefetch(size_t index) {
  if (units_[index].group->state() == State::kSharded) units_[index].group->unshard();
  const auto is_whole = [](const Unit& unit) { return unit.group->state() != State::kSharded; };
  max_units_unsharded_ = std::max<int64_t>(max_units_unsharded_, std::count_if(units_.begin(), units_.end(), is_whole));
}

void FullyShard::finish_reduction() {
  if (reducing_ == nullptr) return;
  reducing_->wait_for_gradients();
  reducing_ = nullptr;
}

}  // namespace titan::parallel
