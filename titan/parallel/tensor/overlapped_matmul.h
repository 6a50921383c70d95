// Matrix products whose communication runs while they do: a collective and the product beside it are cut into as many
// parts as there are ranks, and each part is multiplied while others are under way (Wang et al. 2023, "Overlap
// Communication with Dependent Computation via Decomposition in Large Deep Learning Models", ASPLOS, section 5; PyTorch
// calls it asynchronous tensor parallelism). The same numbers as the collective and the product one after the other, up
// to the order in which rows are added. They know no module; overlapped_linear.h does.
//
// [Note: sequence first]
// A rank's part is a run of the gathered dimension, the sequence. It is one block of memory only where that dimension
// comes first, so what these functions make has it first in memory, and is handed out with dimensions in the order
// asked for: x[batch, seq, dim] has the strides of a [seq, batch, dim]. Products then need no copies.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace titan::parallel {

// x: plain, this rank's part of a tensor spread evenly over dimension `dim`, which is not the last. weights: DTensors
// [out features, in features] on one axis, placed Shard(0). Returns the whole x, and for each weight the whole x times
// this rank's part of it, transposed: one gather serves all products. Backward: the gradient of x is summed over ranks
// in parts, and x is gathered again for the gradients of the weights, both during products; only the part is kept.
// Collective over the weights' mesh, forward and backward. Not differentiable twice.
std::vector<at::Tensor> all_gather_matmul(const at::Tensor& x, const std::vector<at::Tensor>& weights, int64_t dim);

// x: plain, this rank's part of the last dimension; weight: a DTensor [out features, in features] placed Shard(1).
// Returns this rank's part, along `dim`, of the whole x times the whole weight, transposed. The size of `dim` is a
// multiple of the ranks. Backward: the gradient is gathered during products.
at::Tensor matmul_reduce_scatter(const at::Tensor& x, const at::Tensor& weight, int64_t dim);

}  // namespace titan::parallel
