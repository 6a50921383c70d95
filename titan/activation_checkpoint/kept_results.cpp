#include "titan/activation_checkpoint/kept_results.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "titan/dtensor/dtensor.h"
#include "titan/nn/saved_tensor_hooks.h"

namespace titan::activation_checkpoint {
namespace {

const char* name_of(dtensor::Communication kind) {
  switch (kind) {
    case dtensor::Communication::kGather:
      return "gather";
    case dtensor::Communication::kReduce:
      return "reduce";
    case dtensor::Communication::kExchange:
      return "exchange";
  }
  return "";
}

std::string described(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  const size_t num_arguments = op.schema().arguments().size();
  std::string text = toString(op.operator_name());
  for (size_t i = stack.size() - num_arguments; i < stack.size(); ++i) {
    if (stack[i].isTensor() && stack[i].toTensor().defined()) {
      text += fmt::format(" {}[{}]", c10::toString(stack[i].toTensor().scalar_type()),
                          fmt::join(stack[i].toTensor().sizes(), ", "));
    }
  }
  return text;
}

// A result that shares memory with an argument is none to keep: views cost nothing, and what was written in place is
// written again.
bool makes_new_tensors(const c10::OperatorHandle& op) {
  const auto aliases = [](const c10::Argument& argument) { return argument.alias_info() != nullptr; };
  const auto& schema = op.schema();
  return std::none_of(schema.returns().begin(), schema.returns().end(), aliases);
}

c10::IValue with_aliases(const c10::IValue& value) {
  if (value.isTensor()) return value.toTensor().defined() ? c10::IValue(nn::alias_of(value.toTensor())) : value;
  if (!value.isTensorList()) return value;
  std::vector<at::Tensor> tensors = value.toTensorVector();
  for (at::Tensor& tensor : tensors) {
    if (tensor.defined()) tensor = nn::alias_of(tensor);
  }
  return tensors;
}

std::string lines(const std::vector<std::string>& names) { return fmt::format("  {}", fmt::join(names, "\n  ")); }

}  // namespace

const at::Tensor& local_part(const at::Tensor& tensor) {
  return dtensor::is_dtensor(tensor) ? dtensor::local_of(tensor) : tensor;
}

std::vector<at::Tensor> tensors_in(const std::vector<c10::IValue>& values) {
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& value : values) {
    if (value.isTensor() && value.toTensor().defined()) tensors.push_back(value.toTensor());
    if (!value.isTensorList()) continue;
    for (const at::Tensor& tensor : value.toTensorVector()) {
      if (tensor.defined()) tensors.push_back(tensor);
    }
  }
  return tensors;
}

int64_t bytes_under(const std::vector<at::Tensor>& tensors, std::unordered_set<const c10::StorageImpl*> without) {
  int64_t bytes = 0;
  for (const at::Tensor& tensor : tensors) {
    const c10::Storage& storage = local_part(tensor).storage();
    if (without.insert(storage.unsafeGetStorageImpl()).second) bytes += static_cast<int64_t>(storage.nbytes());
  }
  return bytes;
}

// --- the first run ---

class KeptResults::Recording : public dtensor::Mode {
 public:
  explicit Recording(KeptResults& kept) : kept_(kept) {}

  void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack& stack) override {
    Call call{.name = kept_.describes_ ? described(op, stack) : toString(op.operator_name())};
    const bool is_asked = kept_.policy_ != nullptr && makes_new_tensors(op);
    call.is_kept = is_asked && kept_.policy_->keeps(op, stack);
    dtensor::proceed(op, keys, stack);
    if (is_asked) {
      const auto first = stack.end() - static_cast<std::ptrdiff_t>(op.schema().returns().size());
      note(call, std::vector<c10::IValue>(first, stack.end()));
    }
    kept_.calls_.push_back(std::move(call));
  }

  at::Tensor communicate(dtensor::Communication kind, const std::function<at::Tensor()>& run) override {
    Call call{.name = name_of(kind)};
    call.is_kept = kept_.policy_ != nullptr && kept_.policy_->keeps(kind);
    at::Tensor result = dtensor::communicate(kind, run);
    if (kept_.policy_ != nullptr) note(call, {result});
    kept_.calls_.push_back(std::move(call));
    return result;
  }

 private:
  void note(Call& call, const std::vector<c10::IValue>& results) {
    kept_.policy_->on_results(results);
    if (!call.is_kept) return;
    for (const c10::IValue& result : results) call.results.push_back(with_aliases(result));
    for (const at::Tensor& tensor : tensors_in(results)) call.versions.push_back(tensor._version());
  }

  KeptResults& kept_;
};

// --- the runs after it ---

class KeptResults::Replaying : public dtensor::Mode {
 public:
  explicit Replaying(KeptResults& kept) : kept_(kept) { kept_.again_.clear(); }

  void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack& stack) override {
    const Call& call = next(kept_.describes_ ? described(op, stack) : toString(op.operator_name()));
    if (!call.is_kept) return dtensor::proceed(op, keys, stack);
    RECORD_USER_SCOPE("titan::kept_results");  // profilers see the call, and by this mark that it computes nothing
    torch::jit::drop(stack, op.schema().arguments().size());
    for (const c10::IValue& result : call.results) stack.push_back(with_aliases(result));
  }

  at::Tensor communicate(dtensor::Communication kind, const std::function<at::Tensor()>& run) override {
    const Call& call = next(name_of(kind));
    return call.is_kept ? nn::alias_of(call.results.front().toTensor()) : dtensor::communicate(kind, run);
  }

 private:
  const Call& next(std::string name) {
    const size_t index = kept_.again_.size();
    kept_.again_.push_back(std::move(name));
    TORCH_CHECK(index < kept_.calls_.size() && kept_.calls_[index].name == kept_.again_.back(), "the forward ran ",
                index < kept_.calls_.size() ? kept_.calls_[index].name : "nothing more", " as operator ", index,
                ", its recomputation ", kept_.again_.back(),
                "; a checkpointed forward must run the same operators each time");
    const Call& call = kept_.calls_[index];
    size_t i = 0;
    for (const at::Tensor& tensor : tensors_in(call.results)) {
      TORCH_CHECK(tensor._version() == call.versions[i++], "a result of ", call.name,
                  ", kept for recomputation, was written in place since; compute it again instead");
    }
    return call;
  }

  KeptResults& kept_;
};

KeptResults::KeptResults(std::unique_ptr<OperatorPolicy> policy, bool describes)
    : policy_(std::move(policy)), describes_(describes), recording_(std::make_unique<Recording>(*this)) {}

KeptResults::~KeptResults() = default;

dtensor::Mode& KeptResults::recording() { return *recording_; }

std::unique_ptr<dtensor::Mode> KeptResults::replaying() { return std::make_unique<Replaying>(*this); }

std::string KeptResults::operators_before() const {
  std::vector<std::string> names;
  for (const Call& call : calls_) names.push_back(call.name);
  return lines(names);
}

std::string KeptResults::operators_again() const { return lines(again_); }

int64_t KeptResults::num_bytes() const {
  std::vector<at::Tensor> kept;
  for (const Call& call : calls_) {
    const auto tensors = tensors_in(call.results);
    kept.insert(kept.end(), tensors.begin(), tensors.end());
  }
  return bytes_under(kept);
}

}  // namespace titan::activation_checkpoint
