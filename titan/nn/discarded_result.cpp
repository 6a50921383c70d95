#include "titan/nn/discarded_result.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/as_strided.h>
#include <c10/util/Exception.h>

#include <optional>
#include <utility>

#include "titan/nn/saved_tensor_hooks.h"

namespace titan::nn {
namespace {

using torch::autograd::SavedVariableHooks;

// The tensor that nodes wanted to keep. All of them share it.
class Recomputed {
 public:
  Recomputed(std::function<at::Tensor()> compute, const at::Tensor& tensor)
      : compute_(std::move(compute)), storage_(tensor.storage().unsafeGetStorageImpl()) {}

  // Only while the first computation's result lives: within `use`.
  bool is_memory_of(const at::Tensor& tensor) const {
    return tensor.has_storage() && tensor.storage().unsafeGetStorageImpl() == storage_;
  }

  void expect() { ++num_waiting_; }

  at::Tensor get() {
    at::Tensor tensor = tensor_;
    if (!tensor.defined()) {
      const at::AutoGradMode without_gradients(false);
      tensor = compute_();
    }
    tensor_ = --num_waiting_ > 0 ? tensor : at::Tensor();
    return tensor;
  }

 private:
  std::function<at::Tensor()> compute_;
  const c10::StorageImpl* storage_;
  int64_t num_waiting_ = 0;  // nodes that have not asked for it yet
  at::Tensor tensor_;        // computed again, while one of them waits
};

class Saving : public SavedTensorHooks {
 public:
  // outer: of the use_and_discard() around this one, or null
  Saving(std::shared_ptr<Recomputed> recomputed, const Saving* outer)
      : recomputed_(std::move(recomputed)), outer_(outer) {}
  std::unique_ptr<SavedVariableHooks> make() override;

  // Whose memory it is of all those that are under way; null: none's.
  std::shared_ptr<Recomputed> find(const at::Tensor& tensor) const {
    for (const Saving* saving = this; saving != nullptr; saving = saving->outer_) {
      if (saving->recomputed_->is_memory_of(tensor)) return saving->recomputed_;
    }
    return nullptr;
  }

 private:
  std::shared_ptr<Recomputed> recomputed_;
  const Saving* outer_;
};

// What a node saved: such a tensor, as it views it, or any other, which stays.
class Saved : public SavedVariableHooks {
 public:
  explicit Saved(const Saving& saving) : saving_(&saving) {}

  void call_pack_hook(const at::Tensor& tensor) override {
    recomputed_ = std::exchange(saving_, nullptr)->find(tensor);
    if (recomputed_ == nullptr) {
      other_ = alias_of(tensor);
      return;
    }
    recomputed_->expect();
    sizes_ = tensor.sizes();
    strides_ = tensor.strides();
    offset_ = tensor.storage_offset();
  }

  at::Tensor call_unpack_hook() override {
    if (other_.defined()) return other_;
    return at::as_strided(recomputed_->get(), sizes_, strides_, offset_);
  }

  std::optional<std::pair<c10::SafePyObject, c10::SafePyObject>> retrieve_unpack_hook_data() const override {
    return std::nullopt;
  }

 private:
  const Saving* saving_;  // until it is packed, which is when the node is made
  std::shared_ptr<Recomputed> recomputed_;
  at::Tensor other_;
  at::DimVector sizes_, strides_;
  int64_t offset_ = 0;
};

std::unique_ptr<SavedVariableHooks> Saving::make() { return std::make_unique<Saved>(*this); }

}  // namespace

at::Tensor use_and_discard(const at::Tensor& tensor, const std::function<at::Tensor()>& compute,
                           const std::function<at::Tensor(const at::Tensor&)>& use) {
  SavedTensorHooks* const around = SavedTensorHooksGuard::active();
  const auto* const outer = dynamic_cast<const Saving*>(around);
  const bool others_decide = around != nullptr && outer == nullptr;
  if (!tensor.requires_grad() || !tensor.has_storage() || others_decide) return use(tensor);
  Saving saving(std::make_shared<Recomputed>(compute, tensor), outer);
  const SavedTensorHooksGuard hooks(&saving);
  return use(tensor);
}

}  // namespace titan::nn
