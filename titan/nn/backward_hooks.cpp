#include "titan/nn/backward_hooks.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/alias.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

namespace titan::nn {
namespace {

using torch::autograd::variable_list;

// y = x for any number of tensors; tells the callback the gradients when they pass.
struct Identity : torch::autograd::Node {
  std::function<void(std::span<const at::Tensor>)> callback;

  variable_list apply(variable_list&& gradients) override {
    callback(gradients);
    return std::move(gradients);
  }
  std::string name() const override { return "titan::nn::Identity"; }
};

void pass_through(std::span<at::Tensor* const> tensors, std::function<void(std::span<const at::Tensor>)> callback) {
  auto node = std::make_shared<Identity>();
  node->callback = std::move(callback);
  for (const at::Tensor* tensor : tensors) {
    node->add_next_edge(tensor->requires_grad() ? torch::autograd::impl::gradient_edge(*tensor)
                                                : torch::autograd::Edge());
  }
  for (at::Tensor* tensor : tensors) {
    // Every input of the node needs its number, also those without gradients: apply() sees one slot for each.
    if (!tensor->requires_grad()) {
      node->add_input_metadata(Identity::undefined_input());
      continue;
    }
    at::AutoDispatchBelowADInplaceOrView below_autograd;  // no view relation: the node alone links alias and tensor
    at::Tensor aliased = tensor->alias();
    torch::autograd::set_history(aliased, node);
    *tensor = std::move(aliased);
  }
}

}  // namespace

void after_gradients_of(std::span<at::Tensor* const> tensors,
                        std::function<void(std::span<const at::Tensor>)> callback) {
  if (!at::GradMode::is_enabled()) return;
  bool any = false;
  for (const at::Tensor* tensor : tensors) any |= tensor->requires_grad();
  if (any) pass_through(tensors, std::move(callback));
}

void before_gradient_of(at::Tensor& tensor, std::function<void(const at::Tensor&)> callback) {
  if (!at::GradMode::is_enabled() || !tensor.requires_grad()) return;
  at::Tensor* const one[] = {&tensor};
  pass_through(one,
               [callback = std::move(callback)](std::span<const at::Tensor> gradients) { callback(gradients[0]); });
}

void at_end_of_backward(std::function<void()> callback) {
  torch::autograd::Engine::get_default_engine().queue_callback(std::move(callback));
}

}  // namespace titan::nn
