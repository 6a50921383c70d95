#include "titan/parallel/fsdp/fsdp_group.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace titan::parallel {

using distributed::ReduceOp;
using distributed::recorder::ServedModule;

// --- memory ---

at::Tensor BufferPool::take(int64_t numel, const at::TensorOptions& options) {
  const auto fits = [&](const at::Tensor& buffer) {
    return buffer.numel() == numel && buffer.scalar_type() == c10::typeMetaToScalarType(options.dtype());
  };
  const auto found = std::find_if(free_.begin(), free_.end(), fits);
  if (found == free_.end()) return at::empty({numel}, options);
  at::Tensor buffer = std::move(*found);
  free_.erase(found);
  return buffer;
}

void BufferPool::give_back(at::Tensor buffer) {
  if (!buffer.is_cpu()) return;
  // Groups of one size, the blocks, follow each other. What other sizes left is not worth its memory for long.
  constexpr size_t kMost = 4;
  if (free_.size() == kMost) free_.erase(free_.begin());
  free_.push_back(std::move(buffer));
}

namespace {

// Puts memory under a tensor's storage, or takes it away; see the header's note.
void set_memory(const at::Tensor& tensor, const at::Tensor& memory) {
  c10::StorageImpl& storage = *tensor.storage().unsafeGetStorageImpl();
  void* const data = memory.defined() ? memory.mutable_data_ptr() : nullptr;
  storage.set_data_ptr_noswap(at::DataPtr(data, tensor.device()));
  storage.set_nbytes(memory.defined() ? memory.nbytes() : 0);
}

std::vector<std::vector<int64_t>> sizes_of(const std::vector<FsdpParam>& params) {
  std::vector<std::vector<int64_t>> sizes;
  for (const FsdpParam& param : params) sizes.push_back(param.sizes());
  return sizes;
}

at::ScalarType common_dtype(const std::vector<FsdpParam>& params) {
  const at::ScalarType dtype = params.front().sharded().scalar_type();
  for (const FsdpParam& param : params) {
    TORCH_CHECK_VALUE(param.sharded().scalar_type() == dtype,
                      "fully_shard: expected parameters of one dtype in a group, got ", param.fqn(), " in ",
                      param.sharded().scalar_type(), " and ", params.front().fqn(), " in ", dtype,
                      "; put them into groups of their own");
  }
  return dtype;
}

}  // namespace

FsdpGroup::FsdpGroup(std::vector<FsdpParam> params, const dtensor::Mesh& mesh, int64_t shard_axis,
                     const FsdpOptions& options, std::shared_ptr<BufferPool> pool, const std::string& name)
    : params_(std::move(params)),
      mesh_(mesh),
      shard_axis_(shard_axis),
      layout_(sizes_of(params_), mesh.size(shard_axis)),
      param_dtype_(options.param_dtype.value_or(common_dtype(params_))),
      reduce_dtype_(options.reduce_dtype.value_or(param_dtype_)),
      compute_device_(options.compute_device),
      pool_(std::move(pool)),
      name_(std::make_shared<const std::string>(name)) {
  common_dtype(params_);
}

FsdpGroup::~FsdpGroup() = default;

at::TensorOptions FsdpGroup::buffer_options(at::ScalarType dtype) const {
  return at::device(compute_device_.value_or(params_.front().shard().device())).dtype(dtype);
}

// --- parameters ---

void FsdpGroup::unshard() {
  TORCH_INTERNAL_ASSERT(state_ == State::kSharded, params_.front().fqn(), ": unshard of what is not sharded");
  const ServedModule served(name_);
  const at::NoGradGuard no_grad;
  const auto options = buffer_options(param_dtype_);
  std::vector<at::Tensor> shards;
  for (const FsdpParam& param : params_) shards.push_back(param.shard());
  shard_buffer_ = pool_->take(layout_.shard_numel(), options);
  gathered_ = pool_->take(layout_.num_shards() * layout_.shard_numel(), options);
  layout_.copy_shards_in(shard_buffer_, shards);
  gathering_ = distributed::all_gather_into(gathered_, shard_buffer_, mesh_.group(shard_axis_));
  state_ = State::kUnsharding;
}

void FsdpGroup::wait_for_unshard() {
  TORCH_INTERNAL_ASSERT(state_ == State::kUnsharding, params_.front().fqn(), ": no all-gather is under way");
  const at::NoGradGuard no_grad;
  gathering_->wait();
  gathering_.reset();
  memory_ = pool_->take(layout_.whole_numel(), gathered_.options());
  if (!whole_.defined()) make_whole_parameters();
  set_memory(whole_, memory_);
  layout_.copy_out(memory_, gathered_);
  pool_->give_back(std::move(shard_buffer_));
  pool_->give_back(std::move(gathered_));
  for (size_t i = 0; i < params_.size(); ++i) params_[i].show_whole(whole_params_[i]);
  state_ = State::kUnsharded;
}

// Once; their memory is not theirs.
void FsdpGroup::make_whole_parameters() {
  const at::NoGradGuard no_grad;
  whole_ = at::empty({layout_.whole_numel()}, memory_.options());
  for (size_t i = 0; i < params_.size(); ++i) {
    whole_params_.push_back(params_[i].make_leaf(layout_.in_whole(whole_, i)));
  }
}

void FsdpGroup::reshard() {
  TORCH_INTERNAL_ASSERT(state_ == State::kUnsharded, params_.front().fqn(), ": reshard of what is not unsharded");
  for (FsdpParam& param : params_) param.show_shard();
  set_memory(whole_, {});
  pool_->give_back(std::move(memory_));
  memory_.reset();
  state_ = State::kSharded;
}

// --- gradients ---

std::vector<at::Tensor> FsdpGroup::take_gradients() {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (FsdpParam& param : params_) gradients.push_back(param.take_whole_gradient());
  for (size_t i = 0; i < accumulated_.size(); ++i) {
    if (!accumulated_[i].defined()) continue;
    if (gradients[i].defined()) accumulated_[i].add_(gradients[i]);
    gradients[i] = std::move(accumulated_[i]);
  }
  accumulated_.clear();
  return gradients;
}

void FsdpGroup::accumulate_gradients() {
  accumulated_ = take_gradients();
  for (at::Tensor& gradient : accumulated_) {
    if (gradient.defined()) gradient = gradient.to(reduce_dtype_);
  }
}

void FsdpGroup::reduce_gradients() {
  TORCH_INTERNAL_ASSERT(!is_reducing(), params_.front().fqn(), ": a reduction is under way");
  const ServedModule served(name_);
  const at::NoGradGuard no_grad;
  const auto options = buffer_options(reduce_dtype_);
  to_reduce_ = pool_->take(layout_.num_shards() * layout_.shard_numel(), options);
  reduced_ = pool_->take(layout_.shard_numel(), options);
  layout_.copy_gradients_in(to_reduce_, take_gradients());
  // Sums, since the loss is scaled by the step's number of tokens: [Note: loss scaling].
  reduction_ = distributed::reduce_scatter_into(reduced_, to_reduce_, ReduceOp::kSum, mesh_.group(shard_axis_));
}

void FsdpGroup::wait_for_gradients() {
  TORCH_INTERNAL_ASSERT(is_reducing(), params_.front().fqn(), ": no reduction is under way");
  const ServedModule served(name_);
  const at::NoGradGuard no_grad;
  reduction_->wait();
  reduction_.reset();
  pool_->give_back(std::move(to_reduce_));
  for (int64_t axis = 0; axis < shard_axis_; ++axis) {
    distributed::all_reduce_(reduced_, ReduceOp::kSum, mesh_.group(axis)).wait();
  }
  for (size_t i = 0; i < params_.size(); ++i) {
    const at::Tensor gradient = layout_.in_shard(reduced_, i, params_[i].shard().size(0));
    params_[i].add_shard_gradient(gradient.clone());
  }
  pool_->give_back(std::move(reduced_));
}

}  // namespace titan::parallel
