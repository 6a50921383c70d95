// What a checkpoint holds, by name, and how its tensors are named and laid out elsewhere (Hugging Face). Plain data:
// the trainer fills it from model, optimizer and data path.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "titan/checkpoint/plain_value.h"

namespace titan::checkpoint {

// Tensors may be DTensors, and under pipeline parallelism each rank has names of its own.
struct TrainState {
  std::map<std::string, at::Tensor> model;      // by FQN
  std::map<std::string, at::Tensor> optimizer;  // "state.<fqn>.exp_avg", "state.<fqn>.exp_avg_sq", "state.<fqn>.step"
  // "<section>.<name>", the sections being those of checkpoint.exclude_from_loading: "train_state.step",
  // "dataloader.next_sample", "lr_scheduler.last_epoch" ...
  std::map<std::string, int64_t> counters;
  // What TorchTitan expects to find besides; saved, never loaded. "lr_scheduler.base_lrs" ...
  std::map<std::string, PlainValue> for_others;
};

// Another convention for the model's tensors. The names of both sides that it does not know map to themselves.
struct ForeignFormat {
  // The FQN of a foreign tensor and back; nothing where the other side has no such tensor (tied weights, buffers).
  std::function<std::optional<std::string>(std::string_view name)> to_fqn;
  std::function<std::optional<std::string>(std::string_view fqn)> to_name;
  // The tensor in the other convention, of the same shape; both take the FQN.
  std::function<at::Tensor(std::string_view fqn, const at::Tensor&)> from_foreign, to_foreign;
  std::function<std::string(at::ScalarType dtype)> config_json;  // written beside the weights
};

}  // namespace titan::checkpoint
