// The training loop: data -> forward -> loss -> backward -> clip -> update, with logging, validation and checkpoints
// around it. It knows no model (models::ModelSpec) and no parallel technique (the spec's parallelize applies them).
#pragma once

#include <c10/util/Exception.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "titan/checkpoint/checkpointer.h"
#include "titan/config/job_config.h"
#include "titan/data/data_loader.h"
#include "titan/device/compute_device.h"
#include "titan/device/transfer.h"
#include "titan/distributed/device_mesh.h"
#include "titan/distributed/parallel_dims.h"
#include "titan/metrics/metrics_logger.h"
#include "titan/models/model_spec.h"
#include "titan/optim/adam.h"
#include "titan/optim/lr_schedule.h"
#include "titan/train/run_position.h"
#include "titan/train/validator.h"

namespace titan::train {

class SampleLog;
class StopRequest;

// Looks into a step while it runs, and may change what it sees: for `titan verify`, which compares layouts tensor by
// tensor, and for tests that plant faults. Called on every rank.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  // The rank's samples of the step.
  virtual void on_batches(int64_t step, std::vector<data::Batch>& batches) {}
  // Every gradient by FQN, reduced over ranks, before clipping.
  virtual void on_gradients(int64_t step, const std::map<std::string, at::Tensor>& gradients) {}
  // The same after clipping.
  virtual void on_clipped(int64_t step, const std::map<std::string, at::Tensor>& gradients) {}
};

struct StepResult {
  double loss;       // mean over the step's valid tokens of all ranks
  double max_loss;   // the largest mean of a rank
  double grad_norm;  // of the global gradient, before clipping
  double lr;
};

class Trainer {
 public:
  // Builds model, optimizer and data path, and loads the checkpoint that the job starts from. `job` must have passed
  // config::check, settle_on_available and the spec's check; what can only be seen now (a tokenizer with more ids than
  // the model has embeddings) throws c10::ValueError. Collective over `world`. Computes on `device`.
  Trainer(const config::JobConfig& job, const models::ModelSpec& spec, std::shared_ptr<distributed::World> world,
          device::ComputeDevice device = {});
  ~Trainer();

  // Runs up to training.steps, saving as [checkpoint] says; ends earlier, after a whole step and a save, when a signal
  // or training.max_seconds asks for it. Throws c10::Error on a non-finite loss or gradient norm, which changes no
  // parameter, and where memory does not suffice, with who holds it.
  void train();

  // Runs `num_steps` steps as train() does, running ahead, but logs and saves nothing, and asks for no end. `on_result`
  // gets the results of each step in order, as soon as the host has them. Collective. Throws as train().
  void run_steps(int64_t num_steps, const std::function<void(const StepResult&)>& on_result);

  // Saves the initial weights as step 0 (checkpoint.create_seed_checkpoint).
  void save_seed_checkpoint();

  // One step: the next batches, forward, backward, clip, update. `observer` may be null. Collective. Throws as train().
  StepResult step(StepObserver* observer = nullptr);

  // Everything that decides how the run goes on, whole on every rank, and setting it. Collective. Tensors that are not
  // sharded are the run's own.
  checkpoint::TrainState state() const;
  void set_state(const checkpoint::TrainState& state);
  // Of what ranks hold by FQN, parts of the model or shards: the tensors of the whole model, whole, on every rank.
  std::map<std::string, at::Tensor> whole(const std::map<std::string, at::Tensor>& tensors) const;

 private:
  // [Note: running ahead]
  // On a GPU the host only enqueues a step. Its results are read while the device is in the next one, so nothing but
  // that reading ever makes the host wait, and the device always has work. What must know a step's results before the
  // next one may start (a save, a validation, the end) settles it at once.
  struct StepUnderWay {
    int64_t step = 0;
    double lr = 0;
    int64_t num_tokens = 0;       // read by this rank
    int64_t num_tokens_seen = 0;  // by all ranks, over the run
    device::Readback results;     // loss, max_loss, grad_norm
  };
  // Starts a step, and then gives the one before, if there is one, to `settle_it`, which must read its results.
  // `under_way` is the step started last and not yet settled.
  using SettleIt = std::function<void(StepUnderWay&)>;
  void run_ahead(std::optional<StepUnderWay>& under_way, const SettleIt& settle_it);
  StepUnderWay start_step(StepObserver* observer);
  StepUnderWay enqueue_step(StepObserver* observer);
  // Reads the results. Throws c10::Error if they are not finite.
  StepResult settle(StepUnderWay& step) const;
  void settle_and_log(StepUnderWay& step);
  // Throws `error` anew, with who holds the memory.
  [[noreturn]] void throw_with_holders(const c10::OutOfMemoryError& error, const std::string& when) const;

  checkpoint::TrainState own_state() const;  // as this rank holds it
  models::LossFunction loss_scaled_by(double scale) const;
  void set_position(const RunPosition& position);
  void build_model(const models::ModelSpec& spec);
  void load_checkpoint(const models::ModelSpec& spec);
  void save_checkpoint(bool last_step);
  void start_sample_log();
  void start_data();
  std::vector<data::Batch> next_microbatches();
  int64_t sum_over_ranks(int64_t num_valid_tokens);
  void validate();

  config::JobConfig job_;
  std::shared_ptr<distributed::World> world_;
  distributed::ParallelDims dims_;
  distributed::DeviceMesh mesh_;
  int64_t global_batch_size_;
  device::ComputeDevice compute_;
  at::Device device_;

  data::Tokenizer encode_document_;
  std::optional<int64_t> document_end_;  // the token, where attention stays within documents
  models::Parallelized model_;
  std::unique_ptr<optim::Adam> optimizer_;
  optim::LrSchedule schedule_;
  std::unique_ptr<data::DataLoader> loader_;
  std::unique_ptr<SampleLog> sample_log_;  // null unless data.log_samples, and where another rank names the samples
  std::unique_ptr<metrics::MetricsLogger> metrics_;
  std::unique_ptr<Validator> validator_;

  std::unique_ptr<checkpoint::Checkpointer> checkpointer_;  // null unless checkpoint.enable
  std::unique_ptr<StopRequest> stop_request_;               // null outside train()
  bool stop_after_this_step_ = false;                       // agreed on by all ranks
  bool timeout_reduced_ = false;                            // to comm.train_timeout_seconds

  // What a checkpoint carries beside tensors. They differ only where checkpoint.exclude_from_loading starts one anew.
  int64_t step_ = 0;           // steps done
  int64_t schedule_step_ = 0;  // of the learning rate
  int64_t next_sample_ = 0;    // position in the global order of samples
  int64_t num_tokens_seen_ = 0;
};

}  // namespace titan::train
