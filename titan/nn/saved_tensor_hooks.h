// What autograd keeps for the backward, taken over: while a guard lives, each tensor that a node saves goes through
// hooks of ours. It is Python's torch.autograd.graph.saved_tensors_hooks for C++, which libtorch offers through the
// engine only. Activation checkpointing stands on it.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/saved_variable_hooks.h>

#include <memory>

namespace titan::nn {

class SavedTensorHooks {
 public:
  virtual ~SavedTensorHooks() = default;
  // For one tensor that is about to be saved. The node owns the result and drops it when its backward has run.
  virtual std::unique_ptr<torch::autograd::SavedVariableHooks> make() = 0;
};

// Of this thread, the innermost guard decides; null: autograd keeps tensors itself.
class SavedTensorHooksGuard {
 public:
  explicit SavedTensorHooksGuard(SavedTensorHooks* hooks);
  ~SavedTensorHooksGuard();
  SavedTensorHooksGuard(const SavedTensorHooksGuard&) = delete;
  SavedTensorHooksGuard& operator=(const SavedTensorHooksGuard&) = delete;

  // The hooks of this thread's innermost guard, or null.
  static SavedTensorHooks* active();

 private:
  SavedTensorHooks* outer_;
};

// The same tensor as another object: shares memory and version, has no history.
at::Tensor alias_of(const at::Tensor& tensor);

}  // namespace titan::nn
