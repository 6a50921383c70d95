// The norm of all gradients taken as one vector, and clipping by it (Pascanu et al. 2013, arXiv 1211.5063). On a GPU
// neither blocks the host.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

namespace titan::distributed {
class ProcessGroup;
}

namespace titan::optim {

// ||g||_2 over all elements of all `gradients`, accumulated in fp64 in a fixed order: within 1e-7 of exact and the
// same on every run and number of threads. (A norm in fp32 over 6 million elements is 8e-5 off.) Returns [] float64 on
// the gradients' device. DTensors count once, however they are placed: collective over the axes that shard them. Ranks
// of `others`, if it is given, have gradients of other parameters (other parts of a model), which count too: collective
// over it.
at::Tensor global_norm(std::span<const at::Tensor> gradients, distributed::ProcessGroup* others = nullptr);

// Scales `gradients` in place by max_norm / (norm + 1e-6) where that is below 1. norm: [] float64.
void clip_by_norm(std::span<const at::Tensor> gradients, const at::Tensor& norm, double max_norm);

}  // namespace titan::optim
