#include "titan/parallel/fsdp/fsdp_param.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

namespace titan::parallel {

FsdpParam::FsdpParam(std::vector<nn::Parameter*> slots, const dtensor::Mesh& mesh,
                     const dtensor::Placements& placements)
    : slots_(std::move(slots)), sizes_(slots_.front()->get().sizes().vec()) {
  TORCH_CHECK_VALUE(!sizes_.empty(), "fully_shard: expected parameters of at least one dimension, got ", fqn(),
                    " without any; give it one");
  const at::Tensor whole = slots_.front()->get();
  at::Tensor sharded = dtensor::distribute_tensor(whole.detach(), mesh, placements, {.broadcast = false});
  sharded.set_requires_grad(whole.requires_grad());
  for (nn::Parameter* slot : slots_) slot->set(sharded);
}

void FsdpParam::show_whole(const at::Tensor& whole) {
  TORCH_INTERNAL_ASSERT(!is_unsharded_, fqn(), " is unsharded already");
  sharded_ = slots_.front()->get();
  whole_ = whole;
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
  return gradient;
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
                                                 dtensor::placements_of(parameter), sizes_);
}

}  // namespace titan::parallel
