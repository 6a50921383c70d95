// Modules: parameters, buffers and children by name, and hooks around calls. It is torch.nn.Module's role, written
// anew because torch::nn::Module has no hooks. It knows no rank and no mesh: parallelism rewrites modules from outside,
// by swapping what is in their slots and by hooking their calls.
//
// [Note: call contract]
// Calling a module, `module(x, ...)`, does in this order
//   1. use hooks' begin, once per series of calls (see CallSeries): unshard, cast parameters
//   2. pre-hooks, which may replace the tensors among the arguments
//   3. the typed `forward`, or the around hook, which calls it
//   4. post-hooks, which may replace the output
//   5. use hooks' end, in reverse order
// An around hook may keep the forward and call it again in the backward (activation checkpointing), between steps 1 and
// 5 of a use of its own (CallSeries); the results of steps 2 and 4 are inputs and output of what it repeats.
// A forward reads each parameter through its slot at each use and never keeps the tensor: between two calls the slot
// may hold another one (a shard, a bfloat16 copy, a DTensor). Children may be absent: a pipeline stage has only some.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace titan::nn {

class Module;

// A named place in a module that holds a tensor. Registers itself with its owner, whose member it is.
class TensorSlot {
 public:
  TensorSlot(const TensorSlot&) = delete;
  TensorSlot& operator=(const TensorSlot&) = delete;

  // What the module computes with now.
  const at::Tensor& get() const { return tensor_; }
  operator const at::Tensor&() const { return tensor_; }  // NOLINT(google-explicit-constructor): reads as a tensor
  void set(at::Tensor tensor) { tensor_ = std::move(tensor); }

  const std::string& name() const { return name_; }
  Module& owner() const { return *owner_; }

  // The name from the root module on: "layers.0.attention.wq.weight".
  std::string fqn() const;

 protected:
  TensorSlot(Module* owner, std::string name, at::Tensor tensor);
  ~TensorSlot() = default;

 private:
  Module* owner_;
  std::string name_;
  at::Tensor tensor_;
};

// A trained tensor. `sizes` is its shape; it is made on the meta device and requires gradients.
class Parameter : public TensorSlot {
 public:
  Parameter(Module* owner, std::string name, at::IntArrayRef sizes, at::ScalarType dtype);
};

// A tensor that is computed, not trained, and not in checkpoints (rotary frequencies).
class Buffer : public TensorSlot {
 public:
  Buffer(Module* owner, std::string name, at::Tensor tensor);
};

// A named place in a module that holds a child module, or nothing.
class ChildSlot {
 public:
  ChildSlot(const ChildSlot&) = delete;
  ChildSlot& operator=(const ChildSlot&) = delete;

  virtual Module* module() const = 0;
  // Puts another module in this place; null empties it. Throws if the module has not the type the owner expects.
  virtual void replace(std::shared_ptr<Module> module) = 0;
  const std::string& name() const { return name_; }

 protected:
  ChildSlot(Module* owner, std::string name);
  ~ChildSlot() = default;
  void adopt(Module* module);

 private:
  Module* owner_;
  std::string name_;
};

using HookId = int64_t;

// The tensors among a call's arguments, in order; a hook may assign to them.
using Inputs = std::span<at::Tensor* const>;

class Module {
 public:
  using PreHook = std::function<void(Module&, Inputs)>;
  using PostHook = std::function<void(Module&, Inputs, at::Tensor& output)>;
  using UseHook = std::function<void(Module&)>;
  // The forward of one call: gives its output for the tensors among its arguments. It keeps none of these, so it can be
  // called with others later.
  using Forward = std::function<at::Tensor(std::span<const at::Tensor> inputs)>;
  using AroundHook = std::function<at::Tensor(Module&, Inputs, const Forward&)>;
  // Gradients of the module's output, once they are known and before its backward runs.
  using BackwardPreHook = std::function<void(Module&, const at::Tensor& grad_output)>;
  // Gradients of the tensor inputs (undefined where an input needs none), after the module's backward. A module none
  // of whose inputs needs gradients has no such moment; the hook then runs with no gradients when the whole backward
  // is over.
  using BackwardHook = std::function<void(Module&, std::span<const at::Tensor> grad_inputs)>;

  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // Hooks run in the order of registration, except the end of a use: last in, first out.
  HookId register_forward_pre_hook(PreHook hook);
  HookId register_forward_hook(PostHook hook);
  HookId register_use_hooks(UseHook begin, UseHook end);
  // There is one at most.
  void set_around_hook(AroundHook hook) { around_hook_ = std::move(hook); }
  HookId register_full_backward_pre_hook(BackwardPreHook hook);
  HookId register_full_backward_hook(BackwardHook hook);
  // Runs once per use of the module that is differentiated, when the gradients of all parameters in it are accumulated:
  // after its backward, or, where calls in a series run their backward within the series (the chunked loss), when the
  // series ends. Data parallelism starts its reductions here.
  HookId register_gradients_ready_hook(UseHook hook);
  void remove_hook(HookId id);
  // Whether a call does more than its forward.
  bool is_hooked() const { return has_call_hooks() || !use_hooks_.empty(); }

  // "" for the root module.
  std::string fqn() const;

  const std::vector<Parameter*>& own_parameters() const { return parameters_; }
  const std::vector<Buffer*>& own_buffers() const { return buffers_; }
  const std::vector<ChildSlot*>& children() const { return children_; }

  // Every parameter slot of this module and of its descendants, own ones first, in order of registration. A tensor
  // that is in several slots (tied weights) comes once, at its first slot, unless `with_tied`.
  std::vector<Parameter*> parameters(bool with_tied = false) const;
  std::vector<Buffer*> buffers() const;
  // This module and its descendants, parents before children.
  std::vector<Module*> modules();

  // Replaces every parameter and buffer by an uninitialised one of the same shape and dtype on `device`; parameters on
  // `parameter_device`, if that is given. Tied slots stay tied. What they hold afterwards is for init_weights or a
  // checkpoint to say.
  void to_empty(at::Device device, std::optional<at::Device> parameter_device = std::nullopt);

 private:
  friend class TensorSlot;
  friend class Parameter;
  friend class Buffer;
  friend class ChildSlot;
  friend class CallSeries;
  template <class Derived>
  friend class Callable;

  template <class Function>
  struct Hook {
    HookId id;
    Function call;
  };
  struct UseHooks {
    UseHook begin, end;
  };

  bool has_backward_hooks() const {
    return !backward_pre_hooks_.empty() || !backward_hooks_.empty() || !gradients_ready_hooks_.empty();
  }
  bool has_call_hooks() const {
    return !pre_hooks_.empty() || !post_hooks_.empty() || around_hook_ || has_backward_hooks();
  }
  void begin_use();
  void end_use();
  // Steps 2 and 4 of the call contract; the latter also ties backward hooks to inputs and output.
  void before_forward(Inputs inputs);
  void after_forward(Inputs inputs, at::Tensor& output);
  void after_backward(std::span<const at::Tensor> grad_inputs);

  Module* parent_ = nullptr;
  std::string name_;
  std::vector<Parameter*> parameters_;
  std::vector<Buffer*> buffers_;
  std::vector<ChildSlot*> children_;

  std::vector<Hook<PreHook>> pre_hooks_;
  std::vector<Hook<PostHook>> post_hooks_;
  std::vector<Hook<UseHooks>> use_hooks_;
  AroundHook around_hook_;
  std::vector<Hook<BackwardPreHook>> backward_pre_hooks_;
  std::vector<Hook<BackwardHook>> backward_hooks_;
  std::vector<Hook<UseHook>> gradients_ready_hooks_;
  int64_t series_depth_ = 0;
  bool backward_ran_in_series_ = false;
};

// Makes several calls of one module one use of it: use hooks run once around all of them. The loss brackets the
// chunked calls of the output layer so.
class CallSeries {
 public:
  explicit CallSeries(Module& module) : module_(module) { module_.begin_use(); }
  ~CallSeries() noexcept(false) { module_.end_use(); }
  CallSeries(const CallSeries&) = delete;
  CallSeries& operator=(const CallSeries&) = delete;

 private:
  Module& module_;
};

// Gives a module with a typed `at::Tensor forward(...)` its call operator: class Linear : public Callable<Linear>.
template <class Derived>
class Callable : public Module {
 public:
  template <class... Args>
  at::Tensor operator()(Args... args) {
    CallSeries use(*this);
    if (!has_call_hooks()) return static_cast<Derived*>(this)->forward(std::move(args)...);
    std::vector<at::Tensor*> inputs;
    (collect(args, inputs), ...);
    before_forward(inputs);
    at::Tensor output =
        around_hook_ ? around_hook_(*this, inputs, repeatable(args...)) : static_cast<Derived*>(this)->forward(args...);
    after_forward(inputs, output);
    return output;
  }

 private:
  template <class Arg>
  static void collect(Arg& arg, std::vector<at::Tensor*>& inputs) {
    if constexpr (std::is_same_v<Arg, at::Tensor>) {
      if (arg.defined()) inputs.push_back(&arg);
    }
  }

  // The call with its other arguments, and with empty places for its tensors.
  template <class... Args>
  Forward repeatable(Args... args) {
    std::vector<bool> is_given;
    const auto empty = [&](auto& arg) {
      if constexpr (std::is_same_v<std::decay_t<decltype(arg)>, at::Tensor>) {
        is_given.push_back(arg.defined());
        arg.reset();
      }
    };
    (empty(args), ...);
    return [this, is_given, ... args = std::move(args)](std::span<const at::Tensor> inputs) {
      size_t place = 0, next = 0;
      const auto fill = [&](auto arg) {
        if constexpr (std::is_same_v<decltype(arg), at::Tensor>) {
          if (is_given[place++]) arg = inputs[next++];
        }
        return arg;
      };
      std::tuple<Args...> filled{fill(args)...};  // braces: from left to right
      return std::apply([this](auto&... arg) { return static_cast<Derived*>(this)->forward(std::move(arg)...); },
                        filled);
    };
  }
};

// A child of a known type: Child<Linear> wq{this, "wq", std::make_shared<Linear>(...)}.
template <class M>
class Child : public ChildSlot {
 public:
  Child(Module* owner, std::string name, std::shared_ptr<M> module)
      : ChildSlot(owner, std::move(name)), module_(std::move(module)) {
    adopt(module_.get());
  }
  Module* module() const override { return module_.get(); }
  void replace(std::shared_ptr<Module> module) override {
    std::shared_ptr<M> typed = std::dynamic_pointer_cast<M>(module);
    TORCH_INTERNAL_ASSERT(module == nullptr || typed != nullptr, "child '", name(), "' has another type");
    module_ = std::move(typed);
    adopt(module_.get());
  }
  explicit operator bool() const { return module_ != nullptr; }
  M* operator->() const { return module_.get(); }
  M& operator*() const { return *module_; }
  template <class... Args>
  at::Tensor operator()(Args&&... args) const {
    return (*module_)(std::forward<Args>(args)...);
  }

 private:
  std::shared_ptr<M> module_;
};

// Children named "0", "1", ...; any of them may be absent.
template <class M>
class ModuleList : public Module {
 public:
  void append(std::shared_ptr<M> module) {
    slots_.push_back(std::make_unique<Child<M>>(this, std::to_string(slots_.size()), std::move(module)));
  }
  int64_t size() const { return static_cast<int64_t>(slots_.size()); }
  Child<M>& operator[](int64_t index) const { return *slots_.at(index); }

 private:
  std::vector<std::unique_ptr<Child<M>>> slots_;
};

}  // namespace titan::nn
