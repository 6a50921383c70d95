// Keeps what a run measures between two logged steps and says it: the step line on stdout, TensorBoard events, JSON
// lines. It reduces nothing over ranks (losses and norms come in global), and knows neither model nor optimizer.
//
// Where it writes, on the metrics rank (on every rank, under rank_<rank>/, with metrics.save_for_all_ranks):
//   <dump_folder>/metrics/metrics.jsonl          always; a resumed run appends, so of two lines for one step the later
//                                                counts; a run that begins at step 1 moves an older file aside to the
//                                                first free metrics.<n>.jsonl
//   <dump_folder>/<save_tb_folder>/<YYYYmmdd-HHMM>/events.out.tfevents.*   with metrics.enable_tensorboard
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "titan/config/job_config.h"
#include "titan/metrics/jsonl.h"
#include "titan/metrics/memory.h"
#include "titan/metrics/step_line.h"
#include "titan/metrics/tensorboard.h"

namespace titan::metrics {

struct MetricsLoggerOptions {
  std::filesystem::path dump_folder;
  int64_t rank = 0;
  int64_t metrics_rank = 0;            // the rank that saves; with pipeline stages the first rank of the last one
  int64_t non_data_parallel_size = 1;  // ranks that share one batch: tps is per device, so tokens are divided by it
  double flops_per_token = 0;          // model FLOPS of forward and backward
  std::string device_type = "cpu";
  std::string device_name = "cpu";
  std::function<MemoryStats()> memory = process_memory;
  std::function<void()> reset_peak_memory;  // called after each logged step; a CPU's peak stands for the whole run
};

class MetricsLogger {
 public:
  // Logs the device's memory and peak FLOPS, creates the folders. Throws c10::Error where it cannot write.
  MetricsLogger(const config::Metrics& config, MetricsLoggerOptions options);

  // Starts the first interval: called right before the first step, with the number of steps that a resumed run has
  // done (0 for a fresh one). Without it the interval starts at construction, so step 1 counts the set-up as well.
  void start(int64_t num_steps_done);

  // Step 1 and each multiple of metrics.log_freq.
  bool should_log(int64_t step) const;

  // Count towards the next logged step: this rank's tokens of a micro-batch, and how long the rank waited for it.
  void add_tokens(int64_t num_tokens) { num_tokens_since_last_log_ += num_tokens; }
  void add_data_loading(std::chrono::duration<double> wait);

  struct StepResult {
    int64_t step = 0;
    double loss = 0;
    double max_loss = 0;
    double grad_norm = 0;
    double lr = 0;
    int64_t num_tokens_seen = 0;  // by all ranks, since the first step of the run
  };

  // Prints the step line, saves the step's metrics and starts the next interval. Returns what it said. The step's
  // results must be on the CPU already: what time the device still needs would count for the next interval.
  StepMetrics log(const StepResult& result);

  // The same for a validation pass; its tokens come in by add_tokens, its interval starts at the last log.
  ValidationMetrics log_validation(int64_t step, double loss);

 private:
  double seconds_since_last_log() const;
  double tokens_per_second(double seconds) const;
  void save(int64_t step, const Scalars& scalars);

  config::Metrics config_;
  MetricsLoggerOptions options_;
  bool color_ = false;
  double peak_flops_ = 0;
  std::filesystem::path jsonl_path_;  // empty where this rank does not save
  std::unique_ptr<JsonlWriter> jsonl_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;

  using Clock = std::chrono::steady_clock;
  Clock::time_point last_log_;
  int64_t last_logged_step_ = 0;
  int64_t num_tokens_since_last_log_ = 0;
  double data_loading_seconds_ = 0;
  int64_t num_data_loadings_ = 0;
};

}  // namespace titan::metrics
