// TorchTitan's names for what a training checkpoint holds beside the weights, and the values that it expects to find
// there: PyTorch's optimizers keep their options for each parameter, its schedulers what they will need to go on.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "titan/checkpoint/plain_value.h"

namespace titan::config {
struct Optimizer;
}

namespace titan::checkpoint {

// "optimizer", "lr_scheduler", "dataloader" or "train_state" for a name that belongs to one of these; empty for one of
// the model.
std::string_view section_beside_model(std::string_view name);
inline bool is_beside_model(std::string_view name) { return !section_beside_model(name).empty(); }

// The options of an Adam or AdamW over the parameters of `model`, by FQN, and the state of a LambdaLR after
// `last_epoch` steps, when the rate is `lr`.
std::map<std::string, PlainValue> torchtitan_values(const config::Optimizer& optimizer,
                                                    const std::map<std::string, at::Tensor>& model, double lr,
                                                    int64_t last_epoch);

}  // namespace titan::checkpoint
