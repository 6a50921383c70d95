// Between what a rank holds of the training state, shards among it, and the whole, as checkpoints and comparisons have
// it. Collective over the meshes of the DTensors.
#pragma once

#include "titan/checkpoint/train_state.h"

namespace titan::distributed {
class ProcessGroup;
}

namespace titan::train {

// DTensors become whole tensors, on every rank; plain tensors stay the same objects. What the ranks of `others` have
// under other names comes besides, on the CPU. Collective over `others`.
std::map<std::string, at::Tensor> gather(const std::map<std::string, at::Tensor>& tensors,
                                         distributed::ProcessGroup& others);
checkpoint::TrainState gather(const checkpoint::TrainState& state, distributed::ProcessGroup& others);

// Copies whole tensors into those of `tensors` with the same names, which are all there.
void scatter(const std::map<std::string, at::Tensor>& whole, const std::map<std::string, at::Tensor>& tensors);

}  // namespace titan::train
