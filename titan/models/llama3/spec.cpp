#include "titan/models/llama3/spec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "titan/config/check.h"
#include "titan/config/job_config.h"
#include "titan/config/problems.h"
#include "titan/models/decoder_sharding.h"
#include "titan/models/llama3/config.h"
#include "titan/models/llama3/model.h"
#include "titan/models/llama3/state_dict.h"
#include "titan/models/model_args.h"
#include "titan/models/parallelize.h"
#include "titan/models/pipeline_parallelize.h"
#include "titan/nn/dtype.h"

namespace titan::models::llama3 {
namespace {

// Only after check() found nothing.
Config config_for(const config::JobConfig& job) {
  const std::optional<Config> flavor = config_of(job.model.flavor);
  TORCH_INTERNAL_ASSERT(flavor.has_value(), "unchecked flavor ", job.model.flavor);
  return with_args(*flavor, job.model.args);
}

std::shared_ptr<LanguageModel> build(const config::JobConfig& job) {
  return std::make_shared<Transformer>(config_for(job), job.training.seq_len, nn::dtype_from(job.training.dtype));
}

void check_job(const config::JobConfig& job, config::Problems& problems) {
  const std::optional<Config> flavor = config_of(job.model.flavor);
  if (!flavor.has_value()) {
    problems.add(fmt::format("model.flavor: expected one of {} for llama3, got '{}'", fmt::join(flavors(), ", "),
                             job.model.flavor));
    return;
  }
  const Config config = with_args(*flavor, job.model.args);
  check_args_are_known(job, known_args(), problems);
  const size_t num_problems = problems.lines().size();
  check(config, problems);
  if (problems.lines().size() > num_problems) return;  // degrees against sizes that are none would say nothing
  config::check_degrees_against_model(job, config.n_heads, config.num_kv_heads(), problems);
  check_pipeline(job, build, problems);
}

std::string describe(const config::JobConfig& job) { return models::describe(sizes_of(config_for(job))); }

int64_t vocab_size(const config::JobConfig& job) { return config_for(job).vocab_size; }

bool masks_documents(const config::JobConfig& job) { return config_for(job).mask_documents; }

Parallelized parallelize_job(std::shared_ptr<LanguageModel> model, const config::JobConfig& job,
                             const distributed::DeviceMesh& mesh, at::Device device) {
  const ShardingOptions options = sharding_options_from(job);
  return parallelize({.whole = std::move(model),
                      .build = build,
                      .sharding = decoder_sharding_plan(config_for(job).n_layers, options),
                      .between_blocks = residual_placement(options)},
                     job, mesh, device);
}

checkpoint::ForeignFormat hugging_face(const config::JobConfig& job) { return hugging_face_format(config_for(job)); }

}  // namespace

ModelSpec spec() {
  return {
      .name = "llama3",
      .flavors = flavors,
      .check = check_job,
      .describe = describe,
      .vocab_size = vocab_size,
      .masks_documents = masks_documents,
      .build = build,
      .parallelize = parallelize_job,
      .hugging_face = hugging_face,
  };
}

}  // namespace titan::models::llama3
