// The mean loss per token over a validation dataset, with the model as it is. Every pass reads the same samples from
// the start, so its losses compare over a run.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "titan/data/data_loader.h"
#include "titan/distributed/device_mesh.h"
#include "titan/models/forward_backward.h"

namespace titan::config {
struct JobConfig;
}

namespace titan::train {

// How text becomes what the model is given, as in training.
struct ValidatorInput {
  data::Tokenizer tokenizer;
  std::optional<int64_t> document_end;                    // TextDatasetOptions
  std::function<at::Tensor(int64_t seq_len)> own_tokens;  // models::Parallelized
};

class Validator {
 public:
  // The model lies on `device`.
  Validator(const config::JobConfig& job, const distributed::DeviceMesh& mesh, ValidatorInput input, at::Device device);

  // Step 1 and each multiple of validation.freq.
  bool should_validate(int64_t step) const;

  struct Result {
    double loss;         // sum of token losses / number of valid tokens, of all ranks
    int64_t num_tokens;  // read by this rank, valid or not
  };
  // validation.steps batches a rank, or the whole dataset once where that is -1. Collective. Throws c10::ValueError if
  // the dataset has no sample at all. `loss` sums, unscaled.
  Result validate(models::ForwardBackward& model, const models::LossFunction& loss) const;

 private:
  const config::JobConfig& job_;
  distributed::DeviceMesh mesh_;
  ValidatorInput input_;
  at::Device device_;
};

}  // namespace titan::train
