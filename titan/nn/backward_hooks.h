// Moments of a backward pass, caught by identity nodes in the autograd graph (autograd::Function does not look into
// lists of tensors, so the nodes are our own). Gradients pass through unchanged.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <span>

namespace titan::nn {

// Replaces those of `tensors` that need gradients by aliases whose gradients pass one node; `callback` runs once per
// backward, when the gradients of all of them are known, in the order of `tensors` (undefined for the others). Does
// nothing where no gradients are recorded.
void after_gradients_of(std::span<at::Tensor* const> tensors,
                        std::function<void(std::span<const at::Tensor>)> callback);

// Replaces `tensor` by an alias; `callback` runs when its gradient is known, before what made the tensor runs backward.
void before_gradient_of(at::Tensor& tensor, std::function<void(const at::Tensor&)> callback);

// Runs `callback` once when the backward pass that is running now ends. Callbacks run in the order of these calls.
void at_end_of_backward(std::function<void()> callback);

}  // namespace titan::nn
