// From [activation_checkpoint] to a model's blocks: which mode does what to which block.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "titan/activation_checkpoint/memory_budget.h"
#include "titan/config/job_config.h"
#include "titan/nn/module.h"

namespace titan::activation_checkpoint {

struct Surroundings {
  c10::Device device = c10::kCPU;  // that computes
  int64_t ranks_on_host = 1;
  int64_t forwards_in_flight = 1;  // that wait for their backward at a time: several in a pipeline
  MemoryBudget::Agree agree = [](std::vector<double>&) {};
  std::string chart_folder;  // where the Pareto chart goes; empty: nowhere
};

struct Applied {
  // To be called before each micro-batch.
  std::function<void(bool last)> before_microbatch = [](bool) {};
  std::string description;  // for one log line
};

// blocks: in the order of their calls. Throws c10::ValueError for what only the model can tell to be wrong.
Applied apply_activation_checkpoint(const std::vector<nn::Module*>& blocks, const config::ActivationCheckpoint& config,
                                    const Surroundings& surroundings);

}  // namespace titan::activation_checkpoint
