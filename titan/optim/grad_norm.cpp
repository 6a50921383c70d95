#include "titan/optim/grad_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <vector>

#include "titan/distributed/collectives.h"
#include "titan/dtensor/dtensor.h"
#include "titan/kernels/sum_of_squares.h"

namespace titan::optim {
namespace {

// Tensors whose parts lie on different ranks of the same axes, so that their squares are summed over ranks as one.
struct Sharded {
  dtensor::Mesh mesh;
  std::vector<bool> is_sharded;  // by axis; over the others ranks hold the same
  std::vector<at::Tensor> parts;
};

// Terms of a sum have no norm of their own: they are summed first.
at::Tensor without_terms(const at::Tensor& dtensor) {
  dtensor::Placements placements = dtensor::placements_of(dtensor);
  for (dtensor::Placement& placement : placements) {
    if (placement.is_partial()) placement = dtensor::replicate();
  }
  return dtensor::redistribute(dtensor, placements);
}

void add_part(std::vector<Sharded>& all, const at::Tensor& dtensor) {
  const dtensor::Mesh mesh = dtensor::mesh_of(dtensor);
  std::vector<bool> is_sharded;
  for (const dtensor::Placement& placement : dtensor::placements_of(dtensor))
    is_sharded.push_back(placement.is_shard());
  const auto found = std::find_if(all.begin(), all.end(), [&](const Sharded& known) {
    return known.mesh == mesh && known.is_sharded == is_sharded;
  });
  if (found != all.end()) {
    found->parts.push_back(dtensor::local_of(dtensor));
  } else {
    all.push_back({mesh, std::move(is_sharded), {dtensor::local_of(dtensor)}});
  }
}

}  // namespace

at::Tensor global_norm(std::span<const at::Tensor> gradients, distributed::ProcessGroup* others) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> plain;
  std::vector<Sharded> sharded;
  for (const at::Tensor& gradient : gradients) {
    if (dtensor::is_dtensor(gradient)) {
      add_part(sharded, without_terms(gradient));
    } else {
      plain.push_back(gradient);
    }
  }
  at::Tensor sum = kernels::sum_of_squares(plain);
  for (const Sharded& some : sharded) {
    at::Tensor term = kernels::sum_of_squares(some.parts);
    for (size_t axis = 0; axis < some.is_sharded.size(); ++axis) {
      if (!some.is_sharded[axis]) continue;
      distributed::ProcessGroup& group = some.mesh.group(static_cast<int64_t>(axis));
      term = distributed::all_reduce(term, distributed::ReduceOp::kSum, group).wait();
    }
    sum = term + sum;  // a sum on the CPU, where there is no plain tensor, is a number to any device
  }
  if (others != nullptr) sum = distributed::all_reduce(sum, distributed::ReduceOp::kSum, *others).wait();
  return at::sqrt(sum);
}

void clip_by_norm(std::span<const at::Tensor> gradients, const at::Tensor& norm, double max_norm) {
  if (gradients.empty()) return;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> parts;  // scaling is the same on every part
  for (const at::Tensor& gradient : gradients) {
    parts.push_back(dtensor::is_dtensor(gradient) ? dtensor::local_of(gradient) : gradient);
  }
  const at::Tensor factor = at::reciprocal(norm + 1e-6) * max_norm;
  if (norm.is_cpu()) {
    // Read here, it saves a pass over the gradients.
    const double value = factor.item<double>();
    if (value < 1) at::_foreach_mul_(parts, value);
    return;
  }
  at::_foreach_mul_(parts, at::clamp_max(factor, 1.0).to(at::kFloat));
}

}  // namespace titan::optim
