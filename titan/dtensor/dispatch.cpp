#include "titan/dtensor/dispatch.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/AutogradState.h>
#include <c10/util/SmallVector.h>
#include <torch/csrc/autograd/engine.h>

#include <cstring>
#include <mutex>
#include <unordered_map>

#include "titan/dtensor/dtensor_impl.h"
#include "titan/dtensor/interposition.h"
#include "titan/dtensor/plan.h"
#include "titan/dtensor/redistribute.h"

namespace titan::dtensor {
namespace {

using Stack = torch::jit::Stack;

// Whether numbers among the operator's arguments are part of the key.
bool numbers_matter(const c10::OperatorHandle& op) {
  thread_local std::unordered_map<const c10::FunctionSchema*, bool> known;
  const auto [entry, is_new] = known.emplace(&op.schema(), false);
  if (is_new) {
    const auto& name = op.operator_name();
    const Rule* const rule =
        rule_table().find(name.overload_name.empty() ? name.name : name.name + "." + name.overload_name);
    entry->second = rule != nullptr && rule->numbers_matter;
  }
  return entry->second;
}

// [Note: plan key]
// The words that decide what a call needs: the operator, the specs of DTensors, the shapes of plain tensors, and
// those arguments that are not numbers (a learning rate changes at each step). Each argument starts with a word that
// tells its kind, so keys of different calls differ.
class KeyWriter {
 public:
  explicit KeyWriter(const c10::OperatorHandle& op) : op_(op) { put(reinterpret_cast<uint64_t>(&op.schema())); }

  void write(const c10::IValue& value) {
    if (value.isTensor()) return write(value.toTensor());
    if (value.isNone()) return put(kNone);
    if (value.isInt()) return put(kInt, static_cast<uint64_t>(value.toInt()));
    if (value.isBool()) return put(kBool, value.toBool() ? 1 : 0);
    if (value.isDouble()) {
      if (!numbers_matter(op_)) return put(kDouble);
      uint64_t bits = 0;
      const double number = value.toDouble();
      std::memcpy(&bits, &number, sizeof bits);
      return put(kDouble, bits);
    }
    if (value.isList()) return write_list(value);
    if (value.isString()) return write_text(value.toStringRef());
    if (value.isDevice()) return put(kDevice, static_cast<uint64_t>(value.toDevice().type()));
    put(kOther);  // generators, complex numbers
  }

  WordsView words() const { return {words_.data(), words_.size()}; }
  // Of the first DTensor; null: there is none.
  const std::shared_ptr<MeshState>* mesh() const { return mesh_; }
  bool is_in_backward() const { return is_in_backward_; }

 private:
  enum Kind : uint64_t { kNone, kUndefined, kDTensor, kPlain, kInt, kBool, kDouble, kDevice, kList, kText, kOther };

  void put(uint64_t word) { words_.push_back(word); }
  void put(Kind kind, uint64_t word) {
    words_.push_back(kind);
    words_.push_back(word);
  }

  void write(const at::Tensor& tensor) {
    if (!tensor.defined()) return put(kUndefined);
    if (const DTensorImpl* const impl = dtensor_impl(tensor)) {
      if (mesh_ == nullptr) mesh_ = &impl->mesh();
      return put(kDTensor, impl->spec().id);
    }
    // [Note: plain tensors]
    if (tensor.dim() > 0) is_in_backward_ = torch::autograd::get_current_graph_task_id() >= 0;
    put(kPlain, static_cast<uint64_t>(tensor.scalar_type()) << 1 | (is_in_backward_ ? 1 : 0));
    put(static_cast<uint64_t>(tensor.dim()));
    for (const int64_t size : tensor.sizes()) put(static_cast<uint64_t>(size));
  }

  void write_list(const c10::IValue& value) {
    if (value.isIntList()) {
      const c10::List<int64_t> list = value.toIntList();
      put(kList, list.size());
      for (const int64_t element : list) put(static_cast<uint64_t>(element));
      return;
    }
    const c10::ArrayRef<c10::IValue> list = value.toListRef();
    put(kList, list.size());
    for (const c10::IValue& element : list) write(element);
  }

  void write_text(const std::string& text) {
    put(kText, text.size());
    for (size_t i = 0; i < text.size(); i += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, text.data() + i, std::min(sizeof word, text.size() - i));
      put(word);
    }
  }

  const c10::OperatorHandle& op_;
  c10::SmallVector<uint64_t, 48> words_;
  const std::shared_ptr<MeshState>* mesh_ = nullptr;
  bool is_in_backward_ = false;
};

std::shared_ptr<const Plan> plan_for(const c10::OperatorHandle& op, const Stack& stack, const KeyWriter& key,
                                     MeshState& mesh) {
  constexpr size_t kMostPlans = 1 << 15;  // then shapes never come again, and keeping them is of no use
  {
    const std::scoped_lock lock(mesh.mutex);
    const auto found = mesh.plans.find(key.words());
    if (found != mesh.plans.end()) return found->second;
  }
  std::shared_ptr<const Plan> plan = make_plan(op, stack, key.is_in_backward());
  const std::scoped_lock lock(mesh.mutex);
  if (mesh.plans.size() >= kMostPlans) mesh.plans.clear();
  mesh.plans.emplace(Words(key.words().begin(), key.words().end()), plan);
  return plan;
}

class Execution {
 public:
  Execution(const Plan& plan, const c10::OperatorHandle& op, Stack& stack, std::shared_ptr<MeshState> mesh)
      : plan_(plan), op_(op), stack_(stack), mesh_(std::move(mesh)) {
    num_arguments_ = op.schema().arguments().size();
  }

  void run() {
    const size_t begin = stack_.size() - num_arguments_;
    take_locals(begin);
    for (const auto& [argument, value] : plan_.rewrites) stack_[begin + argument] = value;
    if (plan_.kernel) {
      plan_.kernel(op_, stack_);
    } else {
      call_local(op_, stack_);
    }
    for (const auto& [input, spec] : plan_.written) impl_of(input)->set_spec(spec);
    for (size_t i = 0; i < plan_.results.size(); ++i) wrap_result(plan_.results[i], stack_[begin + i]);
  }

 private:
  // Wrappers are kept as long as results may be them or views of them.
  DTensorImpl* impl_of(int64_t input) const { return dtensor_impl(wrappers_[input]); }

  void take_locals(size_t begin) {
    const bool keep = !plan_.written.empty() || (!plan_.outputs.empty() && plan_.outputs.front().view_of >= 0);
    if (keep) keep_wrappers(begin);
    for (const auto& [input, spec] : plan_.written) prepare_write(input);
    for (size_t i = 0; i < plan_.inputs.size(); ++i) {
      const Plan::Input& input = plan_.inputs[i];
      c10::IValue& value = stack_[begin + input.argument];
      if (input.index < 0) {
        if (input.is_dtensor) value = local_of_input(value.toTensor(), input);
        continue;
      }
      // All of one list. A new one: the caller's is not ours to change.
      c10::List<c10::IValue> list = value.toList().copy();
      for (; i < plan_.inputs.size() && plan_.inputs[i].argument == input.argument; ++i) {
        const Plan::Input& element = plan_.inputs[i];
        if (element.is_dtensor) list.set(element.index, local_of_input(list.get(element.index).toTensor(), element));
      }
      --i;
      value = list;
    }
  }

  void keep_wrappers(size_t begin) {
    for (const Plan::Input& input : plan_.inputs) {
      const c10::IValue& value = stack_[begin + input.argument];
      wrappers_.push_back(input.index < 0 ? value.toTensor() : value.toListRef()[input.index].toTensor());
    }
  }

  void prepare_write(int64_t input) {
    DTensorImpl* const impl = impl_of(input);
    TORCH_CHECK(!impl->is_detached_view(), "DTensor: ", op_.operator_name(), " writes to a view of ",
                to_string(impl->spec()),
                " that communication made, so its base would not change; clone it, or redistribute the base before");
    const RedistributePlan* const redistribution = plan_.inputs[input].redistribution;
    if (redistribution == nullptr) return;
    // [Note: writing terms]
    TORCH_CHECK_NOT_IMPLEMENTED(impl->local().use_count() == 1 && impl->local().storage().use_count() == 1,
                                "DTensor: ", op_.operator_name(), " is not linear and writes to the terms of ",
                                to_string(impl->spec()), ", which others share; redistribute it before");
    impl->set_local(redistribute_local(impl->local(), *redistribution));
    impl->set_spec(redistribution->transitions.back().to);
  }

  static at::Tensor local_of_input(const at::Tensor& tensor, const Plan::Input& input) {
    const DTensorImpl* const impl = dtensor_impl(tensor);
    const bool is_there =
        input.redistribution == nullptr || &impl->spec() == input.redistribution->transitions.back().to;
    if (is_there) return impl->local();
    return redistribute_local(impl->local(), *input.redistribution);
  }

  at::Tensor wrap(at::Tensor local, const Plan::Output& output) {
    TORCH_INTERNAL_ASSERT(local.sizes() == output.spec->local_sizes, op_.operator_name(), ": expected a local result ",
                          at::IntArrayRef(output.spec->local_sizes), " of ", to_string(*output.spec), ", got ",
                          local.sizes());
    if (output.view_of < 0)
      return make_dtensor(output.spec->mesh == mesh_.get() ? mesh_ : output.spec->mesh->shared_from_this(), output.spec,
                          std::move(local));
    const DTensorImpl& base = *impl_of(output.view_of);
    // [Note: views that are none]
    const bool is_detached = base.is_detached_view() || plan_.inputs[output.view_of].redistribution != nullptr ||
                             (local.numel() > 0 && !local.is_alias_of(base.local()));
    at::Tensor view =
        make_dtensor(base.mesh(), output.spec, std::move(local), base.storage_offset() + output.storage_offset);
    if (is_detached) dtensor_impl(view)->set_detached_view();
    return view;
  }

  void wrap_result(const Plan::Result& result, c10::IValue& value) {
    if (result.begin == result.end) return;
    if (!result.is_list) {
      const Plan::Output& output = plan_.outputs[result.begin];
      if (output.input >= 0) {
        value = wrappers_[output.input];
      } else if (output.spec != nullptr) {
        value = wrap(std::move(value).toTensor(), output);
      }
      return;
    }
    const std::vector<at::Tensor> locals = value.toTensorVector();
    c10::List<at::Tensor> wrapped;
    wrapped.reserve(locals.size());
    for (int64_t i = result.begin; i < result.end; ++i) {
      const Plan::Output& output = plan_.outputs[i];
      const at::Tensor& local = locals[i - result.begin];
      wrapped.push_back(output.spec == nullptr ? local : wrap(local, output));
    }
    value = std::move(wrapped);
  }

  const Plan& plan_;
  const c10::OperatorHandle& op_;
  Stack& stack_;
  std::shared_ptr<MeshState> mesh_;
  size_t num_arguments_;
  c10::SmallVector<at::Tensor, 4> wrappers_;  // by input, if kept
};

}  // namespace

bool dispatch(const c10::OperatorHandle& op, Stack& stack) {
  KeyWriter key(op);
  for (size_t i = stack.size() - op.schema().arguments().size(); i < stack.size(); ++i) key.write(stack[i]);
  if (key.mesh() == nullptr) return false;
  // In-place operators through views need it: as_strided means nothing on a shard. It stays on for the thread, where
  // it costs plain views a small allocation.
  c10::AutogradState::get_tls_state().set_view_replay_enabled(true);

  std::shared_ptr<MeshState> mesh = *key.mesh();
  const std::shared_ptr<const Plan> plan = plan_for(op, stack, key, *mesh);
  if (plan->decompose != c10::DispatchKey::Undefined) {
    op.callBoxedForDispatchKey(plan->decompose, stack);
  } else {
    Execution(*plan, op, stack, std::move(mesh)).run();
  }
  return true;
}

}  // namespace titan::dtensor
