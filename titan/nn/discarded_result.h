// A tensor that costs little to compute, and that the backward needs again, need not stay in between. Activation
// checkpointing (titan/activation_checkpoint) is for whole modules and is switched on; this is for one tensor where it
// always pays: a pass over memory that is kept for other reasons.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace titan::nn {

// use(tensor), with the same gradients. Where nodes made by `use` save the tensor, or a view of it, for their backward,
// it is not kept, unless the caller does: compute() gives it again there, without gradients, once for all of them. It
// must give the same, so what it reads may not be written in place until then. `use` may do so with other tensors.
// Under hooks of others, which then decide what stays (activation checkpointing), and for a tensor without memory of
// its own (DTensor) this is use(tensor) alone.
at::Tensor use_and_discard(const at::Tensor& tensor, const std::function<at::Tensor()>& compute,
                           const std::function<at::Tensor(const at::Tensor&)>& use);

}  // namespace titan::nn
