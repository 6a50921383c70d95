#include "titan/train/validator.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include "titan/config/job_config.h"
#include "titan/distributed/collectives.h"
#include "titan/loss/cross_entropy.h"
#include "titan/train/model_input.h"

namespace titan::train {

Validator::Validator(const config::JobConfig& job, const distributed::DeviceMesh& mesh, ValidatorInput input,
                     at::Device device)
    : job_(job), mesh_(mesh), input_(std::move(input)), device_(device) {}

bool Validator::should_validate(int64_t step) const { return step == 1 || step % job_.validation.freq == 0; }

Validator::Result Validator::validate(models::ForwardBackward& model, const models::LossFunction& loss) const {
  const config::Validation& config = job_.validation;
  const bool whole = config.steps < 0;
  data::DataLoader loader({.path = config.dataset_path.value(),
                           .seq_len = config.seq_len,
                           .on_error = data::on_error_from(job_.data.on_error),
                           .infinite = !whole,
                           .document_end = input_.document_end,
                           .name = config.dataset,
                           .key = "validation.dataset_path"},
                          {.samples_per_step = config.local_batch_size,
                           .rank_count = config.local_batch_size,
                           .microbatch_size = config.local_batch_size},
                          input_.tokenizer);

  at::Tensor local_loss = at::zeros({}, at::device(device_).dtype(at::kDouble));
  int64_t local_valid = 0, num_tokens = 0;
  for (int64_t step = 0; whole || step < config.steps; ++step) {
    const std::optional<data::Batch> batch = loader.next();
    if (!batch.has_value()) break;
    const models::TokenBatch own = model_input(*batch, input_.own_tokens);
    local_loss += model.evaluate(upload(own, device_), loss);
    local_valid += loss::count_valid_tokens(own.labels);
    num_tokens += batch->labels.numel();
  }
  const at::Tensor sums =
      distributed::all_reduce(at::tensor({local_loss.item<double>(), static_cast<double>(local_valid)}, at::kDouble),
                              distributed::ReduceOp::kSum, *mesh_.group("loss"))
          .wait();
  const double num_valid = sums[1].item<double>();
  TORCH_CHECK_VALUE(num_valid > 0, "validation.dataset_path: '", *config.dataset_path,
                    "' has fewer than validation.seq_len + 1 (", config.seq_len + 1, ") tokens");
  return {.loss = sums[0].item<double>() / num_valid, .num_tokens = num_tokens};
}

}  // namespace titan::train
