// What each rank of a run of `titan verify` does: it trains step by step and records, or compares itself with what the
// reference run recorded. Its errors end the process, as in any training.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "titan/config/job_config.h"
#include "titan/device/compute_device.h"
#include "titan/distributed/world.h"
#include "titan/models/model_spec.h"
#include "titan/train/trainer.h"

namespace titan::verify {

struct WorkerOptions {
  std::filesystem::path folder;   // of the reference's record
  std::filesystem::path results;  // where rank<r>.json goes; empty for the reference run itself
  int64_t num_steps = 1;
};

// Runs the reference: records states and gradients.
void record_reference(const config::JobConfig& job, const models::ModelSpec& spec,
                      std::shared_ptr<distributed::World> world, const device::ComputeDevice& device,
                      const WorkerOptions& options);

// Runs a layout twice and writes this rank's Comparison: freely, from its own initial weights on; and step by step,
// each from the reference's state before it, so that rounding does not compound. Collective. `faults`, which may be
// null, sees every step of both: tests plant errors with it.
void compare_with_reference(const config::JobConfig& job, const models::ModelSpec& spec,
                            std::shared_ptr<distributed::World> world, const device::ComputeDevice& device,
                            const WorkerOptions& options, train::StepObserver* faults = nullptr);

}  // namespace titan::verify
