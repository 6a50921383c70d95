// The training loop: data -> forward -> loss -> backward -> clip -> update, with logging, validation and checkpoints
// around it. It knows no model (models::ModelSpec) and no parallel technique (the spec's parallelize applies them).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "titan/checkpoint/checkpointer.h"
#include "titan/config/job_config.h"
#include "titan/data/data_loader.h"
#include "titan/metrics/metrics_logger.h"
#include "titan/models/model_spec.h"
#include "titan/optim/adam.h"
#include "titan/optim/lr_schedule.h"
#include "titan/train/validator.h"

namespace titan::tokenizer {
class Tokenizer;
}

namespace titan::train {

class StopRequest;

class Trainer {
 public:
  // Builds model, optimizer and data path, and loads the checkpoint that the job starts from. `job` must have passed
  // config::check, settle_on_available and the spec's check; what can only be seen now (a tokenizer with more ids than
  // the model has embeddings) throws c10::ValueError.
  Trainer(const config::JobConfig& job, const models::ModelSpec& spec);
  ~Trainer();

  // Runs up to training.steps, saving as [checkpoint] says; ends earlier, after a whole step and a save, when a signal
  // or training.max_seconds asks for it. Throws c10::Error on a non-finite loss or gradient norm, before the optimizer
  // sees it.
  void train();

  // Saves the initial weights as step 0 (checkpoint.create_seed_checkpoint).
  void save_seed_checkpoint();

 private:
  struct StepResult {
    double loss;       // mean over the step's valid tokens
    double grad_norm;  // before clipping
    double lr;
  };

  void build_model(const models::ModelSpec& spec);
  void load_checkpoint();
  void save_checkpoint(bool last_step);
  checkpoint::TrainState state() const;
  void start_data();
  std::vector<data::Batch> next_microbatches();
  StepResult train_step();
  void check_finite(const StepResult& result) const;
  void validate();

  config::JobConfig job_;
  int64_t global_batch_size_;
  at::Device device_;

  std::shared_ptr<const tokenizer::Tokenizer> tokenizer_;
  std::shared_ptr<models::LanguageModel> model_;
  std::unique_ptr<optim::Adam> optimizer_;
  optim::LrSchedule schedule_;
  std::unique_ptr<data::DataLoader> loader_;
  std::unique_ptr<metrics::MetricsLogger> metrics_;
  std::unique_ptr<Validator> validator_;

  std::unique_ptr<checkpoint::Checkpointer> checkpointer_;  // null unless checkpoint.enable

  // What a checkpoint carries beside tensors. They differ only where checkpoint.exclude_from_loading starts one anew.
  int64_t step_ = 0;           // steps done
  int64_t schedule_step_ = 0;  // of the learning rate
  int64_t next_sample_ = 0;    // position in the global order of samples
  int64_t num_tokens_seen_ = 0;
};

}  // namespace titan::train
