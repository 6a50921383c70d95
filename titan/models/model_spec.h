// What a model family offers to the program: the seam between models and the generic trainer. One per models/<m>/.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "titan/models/language_model.h"

namespace titan::config {
class Problems;
struct JobConfig;
}  // namespace titan::config

namespace titan::models {

// Names and layouts of Hugging Face checkpoints of the family, for one model's sizes.
struct HuggingFaceFormat {
  // The FQN of a Hugging Face tensor and back; nothing where the other side has no such tensor (tied weights).
  std::function<std::optional<std::string>(std::string_view hf_name)> to_fqn;
  std::function<std::optional<std::string>(std::string_view fqn)> to_hf_name;
  // The tensor in the other convention; both take the FQN.
  std::function<at::Tensor(std::string_view fqn, const at::Tensor&)> from_hf, to_hf;
  std::function<std::string(at::ScalarType dtype)> config_json;  // config.json for `transformers`
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
  // Applies what the job asks for, in the one order that works; says each thing it applied in one log line.
  void (*parallelize)(LanguageModel&, const config::JobConfig&);
  HuggingFaceFormat (*hugging_face)(const config::JobConfig&);
};

}  // namespace titan::models
