// Schedules as CSV in PyTorch's notation (parallelism.pipeline_parallel_schedule_csv): a line per rank, an action per
// cell; an empty cell is idle time, which means nothing here. Of compute actions, as PyTorch reads it.
#pragma once

#include <string>
#include <vector>

#include "titan/parallel/pipeline/schedule/schedule.h"

namespace titan::pipeline {

// Stages, microbatches and the rank of each stage follow from the actions. Throws c10::ValueError, one line with file,
// line and action, if the file cannot be read or is no valid schedule.
Schedule read_schedule_csv(const std::string& path);

// The cells alone, in any of PyTorch's two forms: a schedule of compute actions, or one with communication. [ranks]
std::vector<std::vector<Action>> read_actions_csv(const std::string& path);

std::string to_csv(const Schedule& schedule);

}  // namespace titan::pipeline
