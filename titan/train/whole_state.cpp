#include "titan/train/whole_state.h"

#include <ATen/core/grad_mode.h>

#include "titan/dtensor/dtensor.h"

namespace titan::train {

std::map<std::string, at::Tensor> gather(const std::map<std::string, at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> whole;
  for (const auto& [name, tensor] : tensors) {
    whole[name] = dtensor::is_dtensor(tensor) ? dtensor::full_tensor(tensor) : tensor;
  }
  return whole;
}

checkpoint::TrainState gather(const checkpoint::TrainState& state) {
  return {.model = gather(state.model), .optimizer = gather(state.optimizer), .counters = state.counters};
}

void scatter(const std::map<std::string, at::Tensor>& whole, const std::map<std::string, at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& from = whole.at(name);
    if (!dtensor::is_dtensor(tensor)) {
      if (!from.is_same(tensor)) tensor.copy_(from);
      continue;
    }
    const at::Tensor placed = dtensor::distribute_tensor(from, dtensor::mesh_of(tensor), dtensor::placements_of(tensor),
                                                         {.broadcast = false});
    dtensor::local_of(tensor).copy_(dtensor::local_of(placed));
  }
}

}  // namespace titan::train
