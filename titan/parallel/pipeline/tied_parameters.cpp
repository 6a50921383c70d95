#include "titan/parallel/pipeline/tied_parameters.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <c10/util/Exception.h>

#include <map>

#include "titan/distributed/p2p.h"
#include "titan/dtensor/dtensor.h"

namespace titan::pipeline {
namespace {

// What this rank has of it: owner and follower are cut alike over the ranks beside them.
at::Tensor local_of(const at::Tensor& tensor) {
  return dtensor::is_dtensor(tensor) ? dtensor::local_of(tensor) : tensor.detach();
}

// Collective over the parameter's mesh, if it has one.
at::Tensor local_gradient_of(const nn::Parameter& parameter) {
  at::Tensor& gradient = parameter.get().mutable_grad();
  TORCH_INTERNAL_ASSERT(gradient.defined(), parameter.fqn(), ": no gradient to add up");
  if (!dtensor::is_dtensor(parameter.get())) return gradient;
  // An embedding's may still be terms of a sum.
  gradient = dtensor::redistribute(gradient, dtensor::placements_of(parameter.get()));
  return dtensor::local_of(gradient);
}

}  // namespace

std::vector<Tie> ties_of(const nn::Module& model) {
  std::vector<Tie> ties;
  std::map<const at::TensorImpl*, std::string> owners;
  for (const nn::Parameter* parameter : model.parameters(/*with_tied=*/true)) {
    const auto [owner, is_new] = owners.try_emplace(parameter->get().unsafeGetTensorImpl(), parameter->fqn());
    if (!is_new) ties.push_back({owner->second, parameter->fqn()});
  }
  return ties;
}

void TiedParameters::refresh_followers() const {
  const at::NoGradGuard no_grad;
  for (const TiedParameter& tied : parameters_) {
    if (tied.owner != nullptr && tied.follower != nullptr) {
      local_of(tied.follower->get()).copy_(local_of(tied.owner->get()));
    } else if (tied.owner != nullptr) {
      distributed::exchange({distributed::send(local_of(tied.owner->get()), tied.follower_rank)}, *group_).wait();
    } else if (tied.follower != nullptr) {
      distributed::exchange({distributed::receive(local_of(tied.follower->get()), tied.owner_rank)}, *group_).wait();
    }
  }
}

void TiedParameters::add_up_gradients() const {
  const at::NoGradGuard no_grad;
  for (const TiedParameter& tied : parameters_) {
    at::Tensor of_follower;
    if (tied.follower != nullptr) {
      of_follower = local_gradient_of(*tied.follower);
      tied.follower->get().mutable_grad().reset();
    }
    if (tied.owner != nullptr) {
      const at::Tensor sum = local_gradient_of(*tied.owner);
      if (tied.follower == nullptr) {
        of_follower = at::empty_like(sum, at::MemoryFormat::Contiguous);
        distributed::exchange({distributed::receive(of_follower, tied.follower_rank)}, *group_).wait();
      }
      sum.add_(of_follower);
    } else if (tied.follower != nullptr) {
      distributed::exchange({distributed::send(of_follower, tied.owner_rank)}, *group_).wait();
    }
  }
}

}  // namespace titan::pipeline
