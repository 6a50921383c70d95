// Schedules by the names that TorchTitan gives them (parallelism.pipeline_parallel_schedule), and which shapes each is
// defined for.
#pragma once

#include <string_view>
#include <vector>

#include "titan/parallel/pipeline/schedule/schedule.h"

namespace titan::pipeline {

struct ScheduleKind {
  std::string_view name;
  StagePlacement placement;
  std::vector<Action> (*actions_of_rank)(const PipelineShape& shape, int64_t rank);
  int64_t stages_per_rank;  // the only number that is legal; 0: any
  bool needs_a_microbatch_per_stage = false;
  bool in_rounds = false;  // its rounds of microbatches have equal size (InterleavedOrder)

  // As in TorchTitan: two where several are legal.
  int64_t default_stages_per_rank() const { return stages_per_rank == 0 ? 2 : stages_per_rank; }
};

std::vector<std::string_view> schedule_names();

// Case does not matter, as in TorchTitan. Throws c10::ValueError with the nearest name if there is none of that name.
const ScheduleKind& find_schedule(std::string_view name);

// The schedule of compute actions. Throws c10::ValueError, one line, for a shape that it is not defined for.
Schedule make_schedule(std::string_view name, const PipelineShape& shape);

}  // namespace titan::pipeline
