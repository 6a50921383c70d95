#include "titan/nn/module.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "titan/nn/backward_hooks.h"

namespace titan::nn {
namespace {

std::string join(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}

template <class Hooks>
void remove_from(Hooks& hooks, HookId id) {
  std::erase_if(hooks, [id](const auto& hook) { return hook.id == id; });
}

// One sequence for hooks of all kinds, so that an id names one hook.
HookId next_hook_id() {
  static HookId next = 0;
  return next++;
}

template <class Hook, class Function>
HookId add_to(std::vector<Hook>& hooks, Function function) {
  hooks.push_back(Hook{next_hook_id(), std::move(function)});
  return hooks.back().id;
}

}  // namespace

TensorSlot::TensorSlot(Module* owner, std::string name, at::Tensor tensor)
    : owner_(owner), name_(std::move(name)), tensor_(std::move(tensor)) {}

std::string TensorSlot::fqn() const { return join(owner_->fqn(), name_); }

Parameter::Parameter(Module* owner, std::string name, at::IntArrayRef sizes, at::ScalarType dtype)
    : TensorSlot(owner, std::move(name),
                 at::empty(sizes, at::TensorOptions().dtype(dtype).device(at::kMeta)).set_requires_grad(true)) {
  owner->parameters_.push_back(this);
}

Buffer::Buffer(Module* owner, std::string name, at::Tensor tensor)
    : TensorSlot(owner, std::move(name), std::move(tensor)) {
  owner->buffers_.push_back(this);
}

ChildSlot::ChildSlot(Module* owner, std::string name) : owner_(owner), name_(std::move(name)) {
  owner_->children_.push_back(this);
}

void ChildSlot::adopt(Module* module) {
  if (module == nullptr) return;
  module->parent_ = owner_;
  module->name_ = name_;
}

HookId Module::register_forward_pre_hook(PreHook hook) { return add_to(pre_hooks_, std::move(hook)); }

HookId Module::register_forward_hook(PostHook hook) { return add_to(post_hooks_, std::move(hook)); }

HookId Module::register_use_hooks(UseHook begin, UseHook end) {
  return add_to(use_hooks_, UseHooks{std::move(begin), std::move(end)});
}

HookId Module::register_full_backward_pre_hook(BackwardPreHook hook) {
  return add_to(backward_pre_hooks_, std::move(hook));
}

HookId Module::register_full_backward_hook(BackwardHook hook) { return add_to(backward_hooks_, std::move(hook)); }

HookId Module::register_gradients_ready_hook(UseHook hook) { return add_to(gradients_ready_hooks_, std::move(hook)); }

void Module::remove_hook(HookId id) {
  remove_from(pre_hooks_, id);
  remove_from(post_hooks_, id);
  remove_from(use_hooks_, id);
  remove_from(backward_pre_hooks_, id);
  remove_from(backward_hooks_, id);
  remove_from(gradients_ready_hooks_, id);
}

std::string Module::fqn() const { return parent_ == nullptr ? "" : join(parent_->fqn(), name_); }

std::vector<Module*> Module::modules() {
  std::vector<Module*> all{this};
  for (const ChildSlot* child : children_) {
    if (child->module() == nullptr) continue;
    const auto below = child->module()->modules();
    all.insert(all.end(), below.begin(), below.end());
  }
  return all;
}

std::vector<Parameter*> Module::parameters(bool with_tied) const {
  std::vector<Parameter*> found;
  std::unordered_set<const at::TensorImpl*> seen;
  for (const Module* module : const_cast<Module*>(this)->modules()) {
    for (Parameter* parameter : module->parameters_) {
      if (seen.insert(parameter->get().unsafeGetTensorImpl()).second || with_tied) found.push_back(parameter);
    }
  }
  return found;
}

std::vector<Buffer*> Module::buffers() const {
  std::vector<Buffer*> found;
  for (const Module* module : const_cast<Module*>(this)->modules()) {
    found.insert(found.end(), module->buffers_.begin(), module->buffers_.end());
  }
  return found;
}

void Module::to_empty(at::Device device, std::optional<at::Device> parameter_device) {
  std::unordered_map<const at::TensorImpl*, at::Tensor> replacements;
  std::vector<at::Tensor> keep_alive;  // a freed impl's address could come back for another tensor
  for (Parameter* parameter : parameters(/*with_tied=*/true)) {
    keep_alive.push_back(parameter->get());
    at::Tensor& replacement = replacements[parameter->get().unsafeGetTensorImpl()];
    if (!replacement.defined()) {
      at::NoGradGuard no_grad;
      replacement =
          at::empty_like(parameter->get(), parameter->get().options().device(parameter_device.value_or(device)));
      replacement.set_requires_grad(parameter->get().requires_grad());
    }
    parameter->set(replacement);
  }
  for (Buffer* buffer : buffers()) buffer->set(at::empty_like(buffer->get(), buffer->get().options().device(device)));
}

void Module::begin_use() {
  if (series_depth_++ > 0) return;
  for (const auto& hook : use_hooks_) hook.call.begin(*this);
}

void Module::end_use() {
  if (--series_depth_ > 0) return;
  for (auto hook = use_hooks_.rbegin(); hook != use_hooks_.rend(); ++hook) hook->call.end(*this);
  if (!std::exchange(backward_ran_in_series_, false)) return;
  for (const auto& hook : gradients_ready_hooks_) hook.call(*this);
}

void Module::before_forward(Inputs inputs) {
  for (const auto& hook : pre_hooks_) hook.call(*this, inputs);
  if (backward_hooks_.empty() && gradients_ready_hooks_.empty()) return;
  after_gradients_of(inputs, [this](std::span<const at::Tensor> gradients) { after_backward(gradients); });
}

void Module::after_forward(Inputs inputs, at::Tensor& output) {
  for (const auto& hook : post_hooks_) hook.call(*this, inputs, output);
  if (!has_backward_hooks()) return;
  const bool inputs_need_gradients =
      std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor* input) { return input->requires_grad(); });
  before_gradient_of(output, [this, inputs_need_gradients](const at::Tensor& gradient) {
    for (const auto& hook : backward_pre_hooks_) hook.call(*this, gradient);
    if (inputs_need_gradients) return;
    at_end_of_backward([this] { after_backward({}); });
  });
}

void Module::after_backward(std::span<const at::Tensor> grad_inputs) {
  for (const auto& hook : backward_hooks_) hook.call(*this, grad_inputs);
  if (series_depth_ > 0) {
    backward_ran_in_series_ = true;
    return;
  }
  for (const auto& hook : gradients_ready_hooks_) hook.call(*this);
}

}  // namespace titan::nn
