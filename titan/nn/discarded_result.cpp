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

  // Only while the first computation's result lives.
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

// What a node saved: the tensor, as it views it, or any other, which stays.
class Saved : public SavedVariableHooks {
 public:
  explicit Saved(std::shared_ptr<Recomputed> recomputed) : recomputed_(std::move(recomputed)) {}

  void call_pack_hook(const at::Tensor& tensor) override {
    if (!recomputed_->is_memory_of(tensor)) {
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
  std::shared_ptr<Recomputed> recomputed_;
  at::Tensor other_;
  at::DimVector sizes_, strides_;
  int64_t offset_ = 0;
};

class Saving : public SavedTensorHooks {
 public:
  explicit Saving(std::shared_ptr<Recomputed> recomputed) : recomputed_(std::move(recomputed)) {}
  std::unique_ptr<SavedVariableHooks> make() override { return std::make_unique<Saved>(recomputed_); }

 private:
  std::shared_ptr<Recomputed> recomputed_;
};

}  // namespace

at::Tensor use_and_discard(const std::function<at::Tensor()>& compute,
                           const std::function<at::Tensor(const at::Tensor&)>& use) {
  const at::Tensor tensor = compute();
  if (!tensor.requires_grad() || !tensor.has_storage() || SavedTensorHooksGuard::is_active()) return use(tensor);
  Saving saving(std::make_shared<Recomputed>(compute, tensor));
  const SavedTensorHooksGuard hooks(&saving);
  return use(tensor);
}

}  // namespace titan::nn
