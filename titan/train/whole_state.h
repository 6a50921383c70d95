// Between what a rank holds of the training state, shards among it, and the whole, as checkpoints and comparisons have
// it. Collective over the meshes of the DTensors.
#pragma once

#include "titan/checkpoint/train_state.h"

namespace titan::train {

// DTensors become whole tensors, on every rank; plain tensors stay the same objects.
std::map<std::string, at::Tensor> gather(const std::map<std::string, at::Tensor>& tensors);
checkpoint::TrainState gather(const checkpoint::TrainState& state);

// Copies whole tensors into those of `tensors` with the same names, which are all there.
void scatter(const std::map<std::string, at::Tensor>& whole, const std::map<std::string, at::Tensor>& tensors);

}  // namespace titan::train
