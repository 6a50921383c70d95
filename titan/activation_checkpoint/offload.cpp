#include "titan/activation_checkpoint/offload.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <optional>
#include <unordered_map>

#include "titan/activation_checkpoint/kept_results.h"
#include "titan/dtensor/dtensor.h"
#include "titan/nn/saved_tensor_hooks.h"

namespace titan::activation_checkpoint {
namespace {

using torch::autograd::SavedVariableHooks;

// The stream for copies, beside the one that computes; on a CPU everything happens at once.
class CopyStream {
 public:
  // Runs `copy` on the stream after everything that was enqueued for computing so far.
  template <class Copy>
  void run(at::Device device, Copy&& copy) {
    if (device.is_cpu()) return copy();
    const c10::impl::VirtualGuardImpl guard(device.type());
    const c10::Stream computing = guard.getStream(device);
    if (!stream_) stream_ = guard.getStreamFromGlobalPool(device);
    c10::Event enqueued(device.type());
    enqueued.record(computing);
    enqueued.block(*stream_);
    const c10::StreamGuard on_it(*stream_);
    copy();
  }

  // An event after all copies so far; none on a CPU.
  std::optional<c10::Event> mark(at::Device device) {
    if (device.is_cpu()) return std::nullopt;
    c10::Event event(device.type());
    event.record(*stream_);
    return event;
  }

  // Memory of a tensor that copies use is reused only after them.
  void keeps(const at::Tensor& tensor) {
    if (stream_) tensor.record_stream(*stream_);
  }

 private:
  std::optional<c10::Stream> stream_;
};

// One tensor away from its device.
struct Copied {
  at::Tensor host, device;  // the latter while it is back
  at::DimVector sizes, strides;
  at::TensorOptions options;
};

// All tensors of one forward of a module.
class Batch {
 public:
  Batch(std::shared_ptr<CopyStream> stream, std::shared_ptr<OffloadCounts> counts, std::shared_ptr<Batch> before)
      : stream_(std::move(stream)), counts_(std::move(counts)), before_(std::move(before)) {}

  std::shared_ptr<Copied> take(const at::Tensor& tensor) {
    const c10::Storage& storage = tensor.storage();
    // One copy for all nodes that keep the same tensor. An address alone may come back for another one.
    auto& known = known_[storage.unsafeGetStorageImpl()];
    if (known.storage.use_count() > 0) {
      for (const auto& copied : known.copies) {
        if (copied.first == tensor.storage_offset() && copied.second->sizes == tensor.sizes() &&
            copied.second->strides == tensor.strides() && copied.second->options.dtype() == tensor.dtype()) {
          return copied.second;
        }
      }
    } else {
      known.storage = c10::weak_intrusive_ptr<c10::StorageImpl>(storage.getWeakStorageImpl());
      known.copies.clear();
    }
    auto copied = std::make_shared<Copied>();
    copied->sizes = tensor.sizes();
    copied->strides = tensor.strides();
    copied->options = tensor.options();
    copied->host = at::empty(tensor.sizes(), tensor.options().device(at::kCPU).pinned_memory(!tensor.is_cpu()));
    stream_->run(tensor.device(), [&] { copied->host.copy_(tensor, /*non_blocking=*/true); });
    stream_->keeps(tensor);
    ++counts_->num_tensors;
    counts_->num_bytes += static_cast<int64_t>(tensor.nbytes());
    known.copies.emplace_back(tensor.storage_offset(), copied);
    all_.push_back(copied);
    return copied;
  }

  // Starts bringing everything back that is still wanted.
  void bring_back() {
    if (is_back_) return;
    is_back_ = true;
    known_.clear();
    for (const auto& weak : all_) {
      const auto copied = weak.lock();
      if (copied == nullptr) continue;
      const at::Device device = copied->options.device();
      copied->device = at::empty_strided(copied->sizes, copied->strides, copied->options);
      stream_->run(device, [&] { copied->device.copy_(copied->host, /*non_blocking=*/true); });
      stream_->keeps(copied->device);
      back_ = stream_->mark(device);
    }
  }

  at::Tensor get(const Copied& copied) {
    if (is_back_ && !was_asked_) ++counts_->num_ahead;
    bring_back();
    if (back_) {
      const c10::impl::VirtualGuardImpl guard(copied.options.device().type());
      back_->block(guard.getStream(copied.options.device()));
    }
    if (!was_asked_ && before_ != nullptr) before_->bring_back();
    was_asked_ = true;
    return copied.device;
  }

 private:
  struct Known {
    c10::weak_intrusive_ptr<c10::StorageImpl> storage{c10::intrusive_ptr<c10::StorageImpl>()};
    std::vector<std::pair<int64_t, std::shared_ptr<Copied>>> copies;  // by offset
  };

  std::shared_ptr<CopyStream> stream_;
  std::shared_ptr<OffloadCounts> counts_;
  std::shared_ptr<Batch> before_;  // whose backward comes next
  std::unordered_map<const c10::StorageImpl*, Known> known_;
  std::vector<std::weak_ptr<Copied>> all_;
  std::optional<c10::Event> back_;
  bool is_back_ = false, was_asked_ = false;
};

class Saved : public SavedVariableHooks {
 public:
  // kept: whether the tensor stays where it is.
  Saved(std::shared_ptr<Batch> batch, const std::function<bool(const at::Tensor&)>& stays)
      : batch_(std::move(batch)), stays_(stays) {}

  void call_pack_hook(const at::Tensor& tensor) override {
    if (stays_(tensor)) {
      here_ = nn::alias_of(tensor);
    } else {
      copied_ = batch_->take(tensor);
    }
  }
  at::Tensor call_unpack_hook() override { return copied_ == nullptr ? here_ : batch_->get(*copied_); }
  std::optional<std::pair<c10::SafePyObject, c10::SafePyObject>> retrieve_unpack_hook_data() const override {
    return std::nullopt;
  }

 private:
  std::shared_ptr<Batch> batch_;
  const std::function<bool(const at::Tensor&)>& stays_;
  at::Tensor here_;
  std::shared_ptr<Copied> copied_;
};

class Offloading : public nn::SavedTensorHooks {
 public:
  Offloading(std::shared_ptr<Batch> batch, const std::function<bool(const at::Tensor&)>& stays)
      : batch_(std::move(batch)), stays_(stays) {}
  std::unique_ptr<SavedVariableHooks> make() override { return std::make_unique<Saved>(batch_, stays_); }

 private:
  std::shared_ptr<Batch> batch_;
  const std::function<bool(const at::Tensor&)>& stays_;
};

}  // namespace

std::shared_ptr<const OffloadCounts> offload_activations(const std::vector<nn::Module*>& modules,
                                                         const OffloadOptions& options) {
  auto counts = std::make_shared<OffloadCounts>();
  auto stream = std::make_shared<CopyStream>();
  // The forward before this one, whose backward comes after it. Weak: a graph that is gone needs nothing back.
  auto latest = std::make_shared<std::weak_ptr<Batch>>();
  for (nn::Module* module : modules) {
    if (module == modules.back()) break;
    const bool is_first = module == modules.front();
    module->set_around_hook([=](nn::Module& called, nn::Inputs inputs, const nn::Module::Forward& forward) {
      std::vector<at::Tensor> values;
      for (const at::Tensor* input : inputs) values.push_back(*input);
      if (!at::GradMode::is_enabled()) return forward(values);
      auto batch = std::make_shared<Batch>(stream, counts, is_first ? nullptr : latest->lock());
      *latest = batch;
      const auto parameters = called.parameters();
      const std::function<bool(const at::Tensor&)> stays = [&](const at::Tensor& tensor) {
        if (dtensor::is_dtensor(tensor) || !tensor.has_storage() || (tensor.is_cpu() && !options.copies_on_cpu) ||
            static_cast<int64_t>(tensor.nbytes()) < options.min_bytes) {
          return true;
        }
        const auto shares = [&](const at::Tensor& other) {
          return local_part(other).storage().is_alias_of(tensor.storage());
        };
        return std::any_of(values.begin(), values.end(), shares) ||
               std::any_of(parameters.begin(), parameters.end(),
                           [&](const nn::Parameter* slot) { return shares(slot->get()); });
      };
      Offloading offloading(batch, stays);
      const nn::SavedTensorHooksGuard hooks(&offloading);
      return forward(values);
    });
  }
  return counts;
}

}  // namespace titan::activation_checkpoint
