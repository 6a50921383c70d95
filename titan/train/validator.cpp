#include "titan/train/validator.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include "titan/config/job_config.h"
#include "titan/loss/cross_entropy.h"

namespace titan::train {

Validator::Validator(const config::JobConfig& job, data::Tokenizer tokenizer)
    : job_(job), tokenizer_(std::move(tokenizer)) {}

bool Validator::should_validate(int64_t step) const { return step == 1 || step % job_.validation.freq == 0; }

Validator::Result Validator::validate(models::LanguageModel& model) const {
  const config::Validation& config = job_.validation;
  const bool whole = config.steps < 0;
  data::DataLoader loader({.path = config.dataset_path.value(),
                           .seq_len = config.seq_len,
                           .on_error = job_.data.on_error == "skip" ? data::OnError::kSkip : data::OnError::kStop,
                           .infinite = !whole,
                           .name = config.dataset,
                           .key = "validation.dataset_path"},
                          {.samples_per_step = config.local_batch_size,
                           .rank_count = config.local_batch_size,
                           .microbatch_size = config.local_batch_size},
                          tokenizer_);

  at::NoGradGuard no_grad;
  double loss_sum = 0;
  int64_t num_valid = 0, num_tokens = 0;
  for (int64_t step = 0; whole || step < config.steps; ++step) {
    const std::optional<data::Batch> batch = loader.next();
    if (!batch.has_value()) break;
    loss_sum += loss::chunked_cross_entropy(model(batch->input), batch->labels, *model.output_layer(), /*scale=*/1.0,
                                            job_.training.loss_chunks)
                    .item<double>();
    num_valid += loss::count_valid_tokens(batch->labels);
    num_tokens += batch->labels.numel();
  }
  TORCH_CHECK_VALUE(num_valid > 0, "validation.dataset_path: '", *config.dataset_path,
                    "' has fewer than validation.seq_len + 1 (", config.seq_len + 1, ") tokens");
  return {.loss = loss_sum / static_cast<double>(num_valid), .num_tokens = num_tokens};
}

}  // namespace titan::train
