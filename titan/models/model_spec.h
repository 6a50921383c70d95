// What a model family offers to the program: the seam between models and the generic trainer. One per models/<m>/.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/Device.h>

#include "titan/checkpoint/train_state.h"
#include "titan/models/language_model.h"

namespace titan::config {
class Problems;
struct JobConfig;
}  // namespace titan::config

namespace titan::distributed {
class DeviceMesh;
}

namespace titan::models {

// What the techniques that parallelize applied want to be told during a step.
struct Parallelized {
  // Before each micro-batch's forward; gradients are reduced over ranks in the last one's backward only.
  std::function<void(bool last)> before_microbatch = [](bool) {};
  // After the last micro-batch's backward, before anyone looks at gradients. Collective.
  std::function<void()> after_backward = [] {};
  // Where parameters, gradients and optimizer states are kept if not on the device that computes (CPU offload).
  std::optional<at::Device> parameter_device;
};

struct ModelSpec {
  std::string_view name;
  std::vector<std::string> (*flavors)();
  // Adds a line for each setting that makes no model of this family.
  void (*check)(const config::JobConfig&, config::Problems&);
  // The model's sizes, one line.
  std::string (*describe)(const config::JobConfig&);
  int64_t (*vocab_size)(const config::JobConfig&);
  // The whole model on the meta device.
  std::shared_ptr<LanguageModel> (*build)(const config::JobConfig&);
  // Applies what the job asks for, in the one order that works; says each thing it applied in one log line. The model
  // must outlive what it returns; it will compute on `device`. Every rank calls it.
  Parallelized (*parallelize)(LanguageModel&, const config::JobConfig&, const distributed::DeviceMesh&,
                              at::Device device);
  // Names and layouts of the family's Hugging Face checkpoints, for this job's sizes. Null: it has none.
  checkpoint::ForeignFormat (*hugging_face)(const config::JobConfig&) = nullptr;
};

}  // namespace titan::models
