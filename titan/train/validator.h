// The mean loss per token over a validation dataset, with the model as it is. Every pass reads the same samples from
// the start, so its losses compare over a run.
#pragma once

#include <cstdint>

#include "titan/data/data_loader.h"
#include "titan/models/language_model.h"

namespace titan::config {
struct JobConfig;
}

namespace titan::train {

class Validator {
 public:
  Validator(const config::JobConfig& job, data::Tokenizer tokenizer);

  // Step 1 and each multiple of validation.freq.
  bool should_validate(int64_t step) const;

  struct Result {
    double loss;         // sum of token losses / number of valid tokens
    int64_t num_tokens;  // read, valid or not
  };
  // validation.steps batches, or the whole dataset once where that is -1. Throws c10::ValueError if the dataset has no
  // sample at all.
  Result validate(models::LanguageModel& model) const;

 private:
  const config::JobConfig& job_;
  data::Tokenizer tokenizer_;
};

}  // namespace titan::train
