// What stands between autograd and the kernels: one boxed fallback for the dispatch key Fake. A call gets there if a
// mode is active on this thread, or if one of its arguments is a DTensor, whose key set has that key. This is C++'s
// __torch_dispatch__: activation checkpointing, tracing and counting are modes; DTensors are the layer below them.
#pragma once

#include <ATen/core/stack.h>
#include <c10/core/DispatchKeySet.h>

#include <functional>
#include <memory>

namespace c10 {
class OperatorHandle;
}

namespace titan::dtensor {

// What redistributing a DTensor sends: a reduction (all-reduce, reduce-scatter) adds up terms, an exchange (all-to-all)
// moves shards, a gather makes them whole. Of several, a reduction, else the last.
enum class Communication { kGather, kReduce, kExchange };

// Sees every operator that is called on its thread, and on the threads that autograd uses for it, while it is active:
// with plain tensors and with DTensors, forward and backward, below autograd. (Not at::from_blob, nor the data that
// at::tensor({..}) writes.)
class Mode {
 public:
  virtual ~Mode() = default;

  // Does the call: takes its arguments from the stack and leaves its results there. `proceed` does what would happen
  // without this mode. Calls made in here are seen by the modes that were there before this one, not by this one.
  virtual void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack& stack) = 0;

  // Redistribution is no operator, but costs like one. `run` makes the result, a DTensor without history; the same
  // holds as for `call`, with communicate() in the place of proceed().
  virtual at::Tensor communicate(Communication kind, const std::function<at::Tensor()>& run);

  // Whether it also wants the operators that DTensors run on their local parts, after those on the DTensors.
  virtual bool sees_local_operators() const { return false; }
};

// Makes `mode` the innermost one while the guard lives. Guards of a thread are destroyed in reverse order.
class ModeGuard {
 public:
  explicit ModeGuard(Mode& mode);
  ~ModeGuard();
  ModeGuard(const ModeGuard&) = delete;
  ModeGuard& operator=(const ModeGuard&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// For Mode::call: the next mode, or the operator itself.
void proceed(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack& stack);

// For Mode::communicate: the next mode, or `run` itself, unseen.
at::Tensor communicate(Communication kind, const std::function<at::Tensor()>& run);

// No mode sees what happens while it lives.
class WithoutModes {
 public:
  WithoutModes();
  ~WithoutModes();
  WithoutModes(const WithoutModes&) = delete;
  WithoutModes& operator=(const WithoutModes&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Registers the fallback, once per process. Whatever makes a DTensor or a mode calls it.
// Not a static initialiser: the linker drops an object file of a static library that nothing refers to, and with it
// the registration, in silence.
void ensure_interposition();

// For the DTensor layer: calls `op` on local tensors; modes that asked for local operators see it.
void call_local(const c10::OperatorHandle& op, torch::jit::Stack& stack);

}  // namespace titan::dtensor
