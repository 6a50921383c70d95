#include "titan/nn/saved_tensor_hooks.h"

#include <torch/csrc/autograd/engine.h>

#include <utility>

namespace titan::nn {
namespace {

using torch::autograd::Engine;

thread_local SavedTensorHooks* current = nullptr;  // a guard of this thread set it

// libtorch asks its engine for hooks, and has none of its own.
class EngineWithHooks : public Engine {
  std::unique_ptr<torch::autograd::SavedVariableHooks> get_default_saved_variable_hooks() override {
    return current == nullptr ? nullptr : current->make();
  }
};

Engine& engine() {
  // Never destroyed, as libtorch's own: threads of the engine may outlive main().
  static auto* const instance = new EngineWithHooks();
  return *instance;
}

void ensure_engine() {
  static const bool installed = [] {
    torch::autograd::set_default_engine_stub(&engine);
    return true;
  }();
  (void)installed;
}

}  // namespace

SavedTensorHooksGuard::SavedTensorHooksGuard(SavedTensorHooks* hooks) {
  ensure_engine();
  outer_ = std::exchange(current, hooks);
}

SavedTensorHooksGuard::~SavedTensorHooksGuard() { current = outer_; }

SavedTensorHooks* SavedTensorHooksGuard::active() { return current; }

at::Tensor alias_of(const at::Tensor& tensor) {
  at::TensorImpl* const impl = tensor.unsafeGetTensorImpl();
  return at::Tensor(impl->shallow_copy_and_detach(impl->version_counter(), /*allow_tensor_metadata_change=*/false));
}

}  // namespace titan::nn
