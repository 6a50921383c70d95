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
#include "titan/models/forward_backward.h"
#include "titan/models/language_model.h"

namespace titan::config {
class Problems;
struct JobConfig;
}  // namespace titan::config

namespace titan::distributed {
class DeviceMesh;
}

namespace titan::models {

// What is on this rank once every technique has been applied, and how it runs.
struct Parallelized {
  // The model, or what this rank has of it: the stages of a pipeline, in the order of the forward. FQNs are those of
  // the whole model.
  std::vector<std::shared_ptr<LanguageModel>> parts;
  // Those of the parts that this rank trains and saves: all, but for copies of what another rank does.
  std::vector<nn::Parameter*> parameters;
  std::unique_ptr<ForwardBackward> forward_backward;
  // Which tokens of a sample this rank works on, where several share one: int64 [this rank's part of seq], ascending.
  // Null: all.
  std::function<at::Tensor(int64_t seq_len)> own_tokens;
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
  // Whether attention stays within documents: then batches must tell where these begin.
  bool (*masks_documents)(const config::JobConfig&) = [](const config::JobConfig&) { return false; };
  // The whole model on the meta device.
  std::shared_ptr<LanguageModel> (*build)(const config::JobConfig&);
  // Applies what the job asks for to what build() made, in the one order that works; says each thing it applied in one
  // log line. The model will compute on `device`. Every rank calls it.
  Parallelized (*parallelize)(std::shared_ptr<LanguageModel>, const config::JobConfig&, const distributed::DeviceMesh&,
                              at::Device device);
  // Names and layouts of the family's Hugging Face checkpoints, for this job's sizes. Null: it has none.
  checkpoint::ForeignFormat (*hugging_face)(const config::JobConfig&) = nullptr;
};

}  // namespace titan::models
