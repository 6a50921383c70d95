#include "titan/parallel/ddp.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <unordered_set>

namespace titan::parallel {

DistributedDataParallel::DistributedDataParallel(const std::vector<nn::Module*>& units,
                                                 std::shared_ptr<distributed::ProcessGroup> group,
                                                 const DdpOptions& options)
    : group_(std::move(group)) {
  // 1. Which unit each parameter belongs to: the first, whose backward is the last.
  std::unordered_set<const at::TensorImpl*> seen;
  std::vector<std::vector<nn::Parameter*>> parameters_of;
  for (const nn::Module* unit : units) {
    auto& own = parameters_of.emplace_back();
    for (nn::Parameter* parameter : unit->parameters()) {
      if (seen.insert(parameter->get().unsafeGetTensorImpl()).second) own.push_back(parameter);
    }
  }

  // 2. Buckets, from the last unit to the first, as the backward goes. One dtype a bucket.
  int64_t bytes = 0;
  for (size_t unit = units.size(); unit-- > 0;) {
    std::vector<int64_t> bucket_indices;
    for (nn::Parameter* parameter : parameters_of[unit]) {
      const at::Tensor& tensor = parameter->get();
      const bool other_dtype =
          !buckets_.empty() && buckets_.back().parameters.front()->get().scalar_type() != tensor.scalar_type();
      if (buckets_.empty() || other_dtype || bytes >= options.bucket_bytes) {
        buckets_.emplace_back();
        bytes = 0;
      }
      buckets_.back().parameters.push_back(parameter);
      buckets_.back().numel += tensor.numel();
      bytes += tensor.numel() * static_cast<int64_t>(tensor.element_size());
      const auto index = static_cast<int64_t>(buckets_.size()) - 1;
      if (bucket_indices.empty() || bucket_indices.back() != index) {
        bucket_indices.push_back(index);
        ++buckets_.back().num_units;
      }
    }
    if (bucket_indices.empty()) continue;
    const nn::HookId hook =
        units[unit]->register_gradients_ready_hook([this, bucket_indices](nn::Module&) { unit_ready(bucket_indices); });
    hooks_.emplace_back(units[unit], hook);
    for (const int64_t index : bucket_indices) {
      Bucket& bucket = buckets_[static_cast<size_t>(index)];
      const std::string others = bucket.name == nullptr ? "" : *bucket.name + ", ";
      bucket.name = std::make_shared<const std::string>(others + units[unit]->fqn());
    }
  }
}

DistributedDataParallel::~DistributedDataParallel() {
  for (const auto& [module, hook] : hooks_) module->remove_hook(hook);
}

void DistributedDataParallel::before_microbatch(bool last) {
  communicate_ = last && group_->size() > 1;
  num_reduced_ = 0;
  for (Bucket& bucket : buckets_) bucket.num_units_left = bucket.num_units;
}

void DistributedDataParallel::unit_ready(const std::vector<int64_t>& bucket_indices) {
  if (!communicate_) return;
  for (const int64_t index : bucket_indices) --buckets_[index].num_units_left;
  // In the same order on every rank, whatever the order of readiness.
  while (num_reduced_ < buckets_.size() && buckets_[num_reduced_].num_units_left == 0) reduce(buckets_[num_reduced_++]);
}

void DistributedDataParallel::reduce_gradients() {
  communicate_ = group_->size() > 1;
  while (communicate_ && num_reduced_ < buckets_.size()) reduce(buckets_[num_reduced_++]);
}

void DistributedDataParallel::reduce(Bucket& bucket) {
  const distributed::recorder::ServedModule served(bucket.name);
  at::NoGradGuard no_grad;
  const at::Tensor& first = bucket.parameters.front()->get();
  if (!bucket.flat.defined()) bucket.flat = at::empty({bucket.numel}, first.options().requires_grad(false));
  int64_t offset = 0;
  for (const nn::Parameter* parameter : bucket.parameters) {
    const at::Tensor slice = bucket.flat.narrow(0, offset, parameter->get().numel());
    const at::Tensor& gradient = parameter->get().grad();
    if (gradient.defined()) {
      slice.copy_(gradient.flatten());
    } else {
      slice.zero_();
    }
    offset += slice.numel();
  }
  bucket.pending.emplace(distributed::all_reduce_(bucket.flat, distributed::ReduceOp::kSum, *group_));
}

void DistributedDataParallel::finish() {
  if (!communicate_) return;
  communicate_ = false;
  TORCH_INTERNAL_ASSERT(num_reduced_ == buckets_.size(), "a unit's backward did not run; its parameters begin with ",
                        buckets_[num_reduced_].parameters.front()->fqn());
  for (Bucket& bucket : buckets_) {
    bucket.pending->wait();
    bucket.pending.reset();
    int64_t offset = 0;
    for (const nn::Parameter* parameter : bucket.parameters) {
      const at::Tensor& tensor = parameter->get();
      tensor.mutable_grad() = bucket.flat.narrow(0, offset, tensor.numel()).view(tensor.sizes());
      offset += tensor.numel();
    }
  }
}

}  // namespace titan::parallel
