#include "titan/parallel/fsdp/fsdp_param.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace titan::parallel {

FsdpParam::FsdpParam(std::vector<nn::Parameter*> slots, const dtensor::Mesh& mesh, int64_t shard_axis)
    : slots_(std::move(slots)) {
  const at::Tensor whole = slots_.front()->get();
  TORCH_CHECK_VALUE(whole.dim() > 0, "fully_shard: expected parameters of at least one dimension, got ", fqn(),
                    " without any; give it one");
  at::Tensor local = whole.detach();
  if (dtensor::is_dtensor(whole)) {
    inner_mesh_ = dtensor::mesh_of(whole);
    inner_placements_ = dtensor::placements_of(whole);
    local = dtensor::local_of(whole);
  }
  sizes_ = local.sizes().vec();
  global_sizes_ = whole.sizes().vec();

  // 1. Where the shard lies in the whole. What is sharded within an inner axis' part is, seen from outside, in pieces.
  const int64_t num_shards = mesh.size(shard_axis);
  int32_t num_parts = 1;
  dtensor::Placements placements(static_cast<size_t>(mesh.num_axes()));
  for (size_t i = 0; i < inner_placements_.size(); ++i) {
    const size_t axis = placements.size() - inner_placements_.size() + i;
    placements[axis] = inner_placements_[i];
    if (inner_placements_[i].is_shard(0)) num_parts *= static_cast<int32_t>(mesh.size(static_cast<int64_t>(axis)));
  }
  placements[static_cast<size_t>(shard_axis)] =
      num_parts > 1 ? dtensor::strided_shard(0, num_parts) : dtensor::shard(0);

  // 2. The shard: torch.chunk's.
  const int64_t rows = local.size(0), each = (rows + num_shards - 1) / num_shards;
  const int64_t begin = std::min(mesh.coordinate(shard_axis) * each, rows);
  const at::Tensor chunk = local.narrow(0, begin, std::min(each, rows - begin)).clone();
  at::Tensor sharded = dtensor::from_local(chunk, mesh, placements, global_sizes_);
  sharded.set_requires_grad(whole.requires_grad());
  for (nn::Parameter* slot : slots_) slot->set(sharded);
}

at::Tensor FsdpParam::make_leaf(const at::Tensor& whole) const {
  const at::NoGradGuard no_grad;
  at::Tensor leaf = whole.detach();
  if (inner_mesh_.has_value()) leaf = dtensor::from_local(leaf, *inner_mesh_, inner_placements_, global_sizes_);
  return leaf.set_requires_grad(sharded().requires_grad());
}

void FsdpParam::show_whole(const at::Tensor& leaf) {
  TORCH_INTERNAL_ASSERT(!is_unsharded_, fqn(), " is unsharded already");
  sharded_ = slots_.front()->get();
  whole_ = leaf;
  for (nn::Parameter* slot : slots_) slot->set(whole_);
  is_unsharded_ = true;
}

void FsdpParam::show_shard() {
  TORCH_INTERNAL_ASSERT(is_unsharded_, fqn(), " is sharded already");
  for (nn::Parameter* slot : slots_) slot->set(sharded_);
  sharded_.reset();
  is_unsharded_ = false;
}

at::Tensor FsdpParam::take_whole_gradient() {
  if (!whole_.defined()) return {};
  at::Tensor gradient = whole_.grad();
  whole_.mutable_grad().reset();
  if (!gradient.defined() || !inner_mesh_.has_value()) return gradient;
  return dtensor::local_of(dtensor::redistribute(gradient, inner_placements_));
}

void FsdpParam::add_shard_gradient(const at::Tensor& gradient) {
  const at::NoGradGuard no_grad;
  const at::Tensor& parameter = sharded();
  const at::Tensor& old = parameter.grad();
  if (old.defined()) {
    dtensor::local_of(old).add_(gradient);
    return;
  }
  parameter.mutable_grad() = dtensor::from_local(gradient.to(shard().options()), dtensor::mesh_of(parameter),
                                                 dtensor::placements_of(parameter), global_sizes_);
}

}  // namespace titan::parallel
