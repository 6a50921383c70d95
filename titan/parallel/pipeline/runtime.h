// Runs a lowered schedule on its ranks: each rank goes through its list of actions; stages compute, messages travel
// meanwhile. It knows no model and makes no schedule (schedule/).
//
// [Note: messages without deadlock]
// lower() puts the SENDs and RECVs of all ranks into one common order, in which nobody waits for ever even if each SEND
// waits for its RECV. The runtime starts messages in that order, neighbours in the list at once, and waits for one only
// when an action needs what it brings. Stages on one rank hand tensors over without a message.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "titan/distributed/process_group.h"
#include "titan/parallel/pipeline/schedule/schedule.h"
#include "titan/parallel/pipeline/stage.h"

namespace titan::pipeline {

// What travels from a stage to the next, and, as its gradient, back.
struct Boundary {
  std::vector<int64_t> sizes;
  at::ScalarType dtype = at::kFloat;
};

struct RunOptions {
  // Of the tensor that `stage` gets from the stage before it.
  std::function<Boundary(int64_t stage, int64_t microbatch)> boundary;
  at::Device device = at::kCPU;
  bool reduce_gradients = true;  // at REDUCE_GRAD; false: gradients wait for a later run
  // Told of each compute action when it is over. Its time begins when its inputs are there. (On a GPU, that of the
  // host.)
  using Clock = std::chrono::steady_clock;
  std::function<void(const Action& action, Clock::time_point start, Clock::time_point end)> on_compute;
};

// Goes once through this rank's actions of `lowered`. stages: this rank's, begun. group: the pipeline's ranks, in the
// schedule's order. Collective over it. Throws c10::Error if a stage's output is not as options.boundary says, and what
// stages throw.
void run_schedule(const Schedule& lowered, const std::vector<std::shared_ptr<Stage>>& stages,
                  distributed::ProcessGroup& group, const RunOptions& options);

// Forwards alone, lowered: for validation. rank_of_stage: as in the training schedule.
Schedule forward_only(const std::vector<int64_t>& rank_of_stage, int64_t num_ranks, int64_t num_microbatches);

}  // namespace titan::pipeline
