// A pipeline schedule: for each rank, the actions it runs, in order. A list, not a clock: when an action runs follows
// from what it waits for, and simulate() works that out. How the layers of a model become stages is not known here.
#pragma once

#include <cstdint>
#include <vector>

#include "titan/parallel/pipeline/schedule/action.h"

namespace titan::pipeline {

// What a schedule is asked for.
struct PipelineShape {
  int64_t num_ranks = 1;
  int64_t num_stages = 1;
  int64_t num_microbatches = 1;

  int64_t stages_per_rank() const { return num_stages / num_ranks; }
};

// Which rank holds which stage.
enum class StagePlacement : uint8_t {
  kLoop,  // 0 1 2 3 0 1 2 3: stage s on rank s % num_ranks
  kV,     // 0 1 2 3 3 2 1 0: down and up again, so that rank 0 holds the first stage and the last
};

struct Schedule {
  PipelineShape shape;
  std::vector<int64_t> rank_of_stage;      // [num_stages]
  std::vector<std::vector<Action>> ranks;  // [num_ranks]
};

// rank_of_stage of `shape`, whose number of stages is a multiple of its number of ranks.
std::vector<int64_t> place_stages(StagePlacement placement, const PipelineShape& shape);

}  // namespace titan::pipeline
