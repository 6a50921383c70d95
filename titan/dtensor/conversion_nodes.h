// The gradients of from_local, to_local and redistribute: nodes of autograd's graph that do the inverse on a gradient.
// Private to titan/dtensor.
#pragma once

#include <ATen/core/Tensor.h>

#include "titan/dtensor/mesh.h"
#include "titan/dtensor/placement.h"

namespace titan::dtensor {

// How the gradient of a tensor placed so is placed: where the tensor is Partial, each term's gradient is the whole's.
Placements gradient_placements(const Placements& placements);

// Make `result` the outcome of the function on its first argument, for autograd.
void track_from_local(const at::Tensor& local, at::Tensor& dtensor);
void track_to_local(const at::Tensor& dtensor, at::Tensor& local, const Placements& grad_placements);
void track_redistribute(const at::Tensor& dtensor, at::Tensor& result);

// What the mesh's first rank has. Backward: the gradient as it is, since the ranks stand for one tensor.
at::Tensor broadcast_with_grad(const at::Tensor& tensor, const Mesh& mesh);

}  // namespace titan::dtensor
