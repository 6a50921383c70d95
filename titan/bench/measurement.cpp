#include "titan/bench/measurement.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>

#include "titan/bench/process_age.h"
#include "titan/config/check.h"
#include "titan/config/job_config.h"
#include "titan/distributed/collectives.h"
#include "titan/distributed/world.h"
#include "titan/metrics/memory.h"
#include "titan/models/model_spec.h"
#include "titan/profiling/device_time.h"
#include "titan/profiling/host_time.h"
#include "titan/train/trainer.h"

namespace titan::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kProfiledSteps = 3;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

void wait_for_device(at::Device device) {
  if (!device.is_cpu()) at::accelerator::synchronizeDevice(device.index());
}

void time_steps(train::Trainer& trainer, at::Device device, int64_t num_steps, Measurement& measurement) {
  const Clock::time_point begin = Clock::now();
  Clock::time_point last = begin;
  trainer.run_steps(num_steps, [&](const train::StepResult& result) {
    measurement.step_seconds.push_back(seconds_since(last));
    last = Clock::now();
    measurement.final_loss = result.loss;
  });
  wait_for_device(device);
  measurement.interval_seconds = seconds_since(begin);
}

profiling::TimeByCategory profile_steps(train::Trainer& trainer, at::Device device) {
  const auto work = [&] {
    trainer.run_steps(kProfiledSteps, [](const train::StepResult&) {});
    wait_for_device(device);
  };
  profiling::TimeByCategory time =
      device.is_cpu() ? profiling::host_time_of(work) : profiling::time_by_category(profiling::record_kernels(work));
  for (double& seconds : time.seconds) seconds /= kProfiledSteps;
  time.idle_seconds /= kProfiledSteps;
  return time;
}

// Of `value` over all ranks.
double reduce(double value, distributed::ReduceOp op, distributed::World& world) {
  return distributed::all_reduce(at::tensor({value}, at::kDouble), op, *world.group()).wait().item<double>();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace

double Measurement::seconds_per_step() const {
  return on_gpu ? interval_seconds / static_cast<double>(step_seconds.size()) : median(step_seconds);
}

double Measurement::best_seconds_per_step() const {
  return *std::min_element(step_seconds.begin(), step_seconds.end());
}

void only_train(config::JobConfig& job) {
  job.job.save_config_file.reset();
  job.checkpoint = {};
  job.validation.enable = false;
  job.metrics.enable_tensorboard = false;
  job.metrics.enable_wandb = false;
  job.profiling = {};
}

Measurement measure(const config::JobConfig& job, const models::ModelSpec& spec,
                    const std::shared_ptr<distributed::World>& world, const device::ComputeDevice& device,
                    const BenchOptions& options) {
  TORCH_INTERNAL_ASSERT(options.num_steps >= 1 && options.num_warmup_steps >= 1);
  Measurement measurement{.on_gpu = !device.device.is_cpu()};
  const auto ignore = [](const train::StepResult&) {};
  measurement.tokens_per_step = config::global_batch_size(job, world->size()) * job.training.seq_len / world->size();
  measurement.flops_per_token = spec.build(job)->flops_per_token(job.training.seq_len);

  // 1. Set-up and step 1, what a user waits for.
  train::Trainer trainer(job, spec, world, device);
  measurement.setup_seconds = process_age_seconds();
  const Clock::time_point begin = Clock::now();
  trainer.run_steps(1, ignore);
  wait_for_device(device.device);
  measurement.first_step_seconds = seconds_since(begin);

  // 2. The steps that are timed, with nothing that watches them.
  trainer.run_steps(options.num_warmup_steps - 1, ignore);
  wait_for_device(device.device);
  time_steps(trainer, device.device, options.num_steps, measurement);
  const metrics::MemoryStats memory = metrics::memory_of(device.device);
  measurement.capacity_bytes = memory.capacity_bytes;

  // 3. One step whose FLOPs are counted, and some whose time is sorted.
  {
    const profiling::FlopCounter counter;
    trainer.run_steps(1, ignore);
    measurement.flops_per_step = counter.count();
  }
  measurement.time = profile_steps(trainer, device.device);

  // 4. What the ranks have in common.
  using distributed::ReduceOp;
  const auto num_ranks = static_cast<double>(world->size());
  profiling::FlopCount& flops = measurement.flops_per_step;
  flops.matmul = reduce(flops.matmul, ReduceOp::kSum, *world) / num_ranks;
  flops.attention = reduce(flops.attention, ReduceOp::kSum, *world) / num_ranks;
  measurement.peak_reserved_bytes =
      static_cast<int64_t>(reduce(static_cast<double>(memory.peak_reserved_bytes), ReduceOp::kMax, *world));
  return measurement;
}

}  // namespace titan::bench
