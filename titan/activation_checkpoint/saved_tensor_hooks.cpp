#include "titan/activation_checkpoint/saved_tensor_hooks.h"

#include <torch/csrc/autograd/engine.h>

#include <utility>

namespace titan::activation_checkpoint {
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

}  // namespace titan::activation_checkpoint
