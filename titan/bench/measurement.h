// Runs a job's steps and takes their measures: speed, FLOPs, memory, where the time goes. It trains through the
// trainer as `titan train` does, and writes nothing; what the figures mean to a reader is in report.h.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "titan/device/compute_device.h"
#include "titan/profiling/category.h"
#include "titan/profiling/flop_counter.h"

namespace titan::config {
struct JobConfig;
}
namespace titan::distributed {
class World;
}
namespace titan::models {
struct ModelSpec;
}

namespace titan::bench {

struct BenchOptions {
  int64_t num_steps = 10;        // timed; at least 1
  int64_t num_warmup_steps = 3;  // before them, of which the first is step 1; at least 1
};

struct Measurement {
  double setup_seconds = 0;       // from the process's start to that of step 1
  double first_step_seconds = 0;  // step 1, until the device is done

  // From the results of one timed step to those of the next. On a GPU the host has them while the step's update still
  // runs, so only their sum is a measure: interval_seconds, from a device without work to one without work.
  std::vector<double> step_seconds;
  double interval_seconds = 0;
  bool on_gpu = false;

  int64_t tokens_per_step = 0;          // per device
  double flops_per_token = 0;           // that the model needs, as TorchTitan counts them
  profiling::FlopCount flops_per_step;  // executed, per device: the mean over ranks
  profiling::TimeByCategory time;       // of a step of rank 0, profiled after the timed ones
  int64_t peak_reserved_bytes = 0;      // up to the last timed step, of the rank that held most
  int64_t capacity_bytes = 0;
  double final_loss = 0;  // of the last timed step: a fast step that computes nonsense shows here

  // The time that tokens per second are reckoned by: the median of the timed steps, on a GPU their mean.
  double seconds_per_step() const;
  double best_seconds_per_step() const;
};

// Changes `job` to one that only trains: no checkpoint is read or written, no validation, no TensorBoard events, no
// traces. What still goes to job.dump_folder (the folder of metrics) is the caller's to throw away.
void only_train(config::JobConfig& job);

// Collective over `world`; call it as early in the process as can be. `job` as for train::Trainer, after
// only_train.
Measurement measure(const config::JobConfig& job, const models::ModelSpec& spec,
                    const std::shared_ptr<distributed::World>& world, const device::ComputeDevice& device,
                    const BenchOptions& options);

}  // namespace titan::bench
