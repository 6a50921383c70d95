#include "titan/dtensor/interposition.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/library.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "titan/dtensor/dispatch.h"

namespace titan::dtensor {
namespace {

// [Note: where modes are kept]
// In libtorch's thread-local debug info, under a kind of our own, because autograd takes that along when it runs a
// backward on another thread, as it does the included dispatch keys. Immutable once pushed.
struct Modes : c10::DebugInfoBase {
  std::vector<Mode*> waiting;  // those that the next call passes, innermost last
  std::vector<Mode*> local;    // those that want local operators
};
constexpr auto kModes = static_cast<c10::DebugInfoKind>(200);

const Modes* current_modes() { return static_cast<const Modes*>(c10::ThreadLocalDebugInfo::get(kModes)); }

// Sets the modes, and whether plain tensors' calls come to the fallback, for its lifetime.
class WithModes {
 public:
  explicit WithModes(std::shared_ptr<Modes> modes)
      : was_included_(c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::Fake)),
        included_(!modes->waiting.empty()),
        info_(kModes, std::move(modes)) {
    if (included_ != was_included_) c10::impl::tls_set_dispatch_key_included(c10::DispatchKey::Fake, included_);
  }
  ~WithModes() {
    if (included_ != was_included_) c10::impl::tls_set_dispatch_key_included(c10::DispatchKey::Fake, was_included_);
  }
  WithModes(const WithModes&) = delete;
  WithModes& operator=(const WithModes&) = delete;

 private:
  bool was_included_, included_;
  c10::DebugInfoGuard info_;
};

void run(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  if (dispatch(op, stack)) return;
  if (!c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::Fake)) return op.callBoxed(stack);
  WithModes none(std::make_shared<Modes>());
  op.callBoxed(stack);
}

void call_innermost(const Modes& modes, const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                    torch::jit::Stack& stack) {
  auto rest = std::make_shared<Modes>(modes);
  Mode* const mode = rest->waiting.back();
  rest->waiting.pop_back();
  WithModes guard(std::move(rest));
  mode->call(op, keys, stack);
}

void fallback(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  proceed(op, keys, *stack);
}

}  // namespace

void proceed(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack& stack) {
  const Modes* const modes = current_modes();
  if (modes == nullptr || modes->waiting.empty()) return run(op, stack);
  call_innermost(*modes, op, keys, stack);
}

at::Tensor Mode::communicate(Communication kind, const std::function<at::Tensor()>& run) {
  return dtensor::communicate(kind, run);
}

at::Tensor communicate(Communication kind, const std::function<at::Tensor()>& run) {
  const Modes* const modes = current_modes();
  if (modes == nullptr || modes->waiting.empty()) {
    const WithoutModes unseen;
    return run();
  }
  auto rest = std::make_shared<Modes>(*modes);
  Mode* const mode = rest->waiting.back();
  rest->waiting.pop_back();
  const WithModes guard(std::move(rest));
  return mode->communicate(kind, run);
}

void call_local(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  const Modes* const modes = current_modes();
  if (modes == nullptr || modes->local.empty()) return op.callBoxed(stack);
  auto local = std::make_shared<Modes>();
  local->waiting = modes->local;
  WithModes guard(std::move(local));
  op.callBoxed(stack);
}

struct ModeGuard::State {
  explicit State(std::shared_ptr<Modes> modes) : with(std::move(modes)) {}
  WithModes with;
};

ModeGuard::ModeGuard(Mode& mode) {
  ensure_interposition();
  const Modes* const outer = current_modes();
  auto modes = outer == nullptr ? std::make_shared<Modes>() : std::make_shared<Modes>(*outer);
  modes->waiting.push_back(&mode);
  if (mode.sees_local_operators()) modes->local.push_back(&mode);
  state_ = std::make_unique<State>(std::move(modes));
}
ModeGuard::~ModeGuard() = default;

struct WithoutModes::State {
  explicit State(std::shared_ptr<Modes> modes) : with(std::move(modes)) {}
  WithModes with;
};

WithoutModes::WithoutModes() {
  if (current_modes() != nullptr) state_ = std::make_unique<State>(std::make_shared<Modes>());
}
WithoutModes::~WithoutModes() = default;

void ensure_interposition() {
  static torch::Library library = [] {
    torch::Library made(torch::Library::IMPL, "_", c10::DispatchKey::Fake, __FILE__, __LINE__);
    made.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
    return made;
  }();
}

}  // namespace titan::dtensor
