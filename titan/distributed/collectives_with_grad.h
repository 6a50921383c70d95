// Collectives that autograd goes through. They block (on a CUDA device: the stream), as what follows needs the
// result. The gradient is that of the sum of all ranks' losses; where a layer's algebra knows better, the forms with
// a communication in one direction only are for it.
#pragma once

#include <ATen/core/Tensor.h>

#include "titan/distributed/process_group.h"

namespace titan::distributed {

// Backward: reduce_scatter (sum).
at::Tensor all_gather_with_grad(const at::Tensor& x, ProcessGroup& group, int64_t dim = 0);
at::Tensor all_gather_uneven_with_grad(const at::Tensor& x, at::IntArrayRef sizes, ProcessGroup& group,
                                       int64_t dim = 0);

// Sums over ranks. Backward: all_gather.
at::Tensor reduce_scatter_with_grad(const at::Tensor& x, ProcessGroup& group, int64_t dim = 0);
at::Tensor reduce_scatter_uneven_with_grad(const at::Tensor& x, at::IntArrayRef sizes, ProcessGroup& group,
                                           int64_t dim = 0);

// Sums over ranks. Backward: all_reduce (sum).
at::Tensor all_reduce_with_grad(const at::Tensor& x, ProcessGroup& group);

// Sums over ranks. Backward: the gradient as it is, for when all ranks go on with the same computation (g of
// Megatron-LM: Shoeybi et al. 2019, arXiv 1909.08053, section 3).
at::Tensor all_reduce_in_forward(const at::Tensor& x, ProcessGroup& group);

// x as it is. Backward: all_reduce (sum), for when ranks use a common x for different parts (Megatron-LM's f).
at::Tensor all_reduce_in_backward(const at::Tensor& x, ProcessGroup& group);

// Along dimension 0, as all_to_all. Backward: all_to_all with the splits exchanged. Empty splits: equal parts.
at::Tensor all_to_all_with_grad(const at::Tensor& x, at::IntArrayRef output_splits, at::IntArrayRef input_splits,
                                ProcessGroup& group);

}  // namespace titan::distributed
