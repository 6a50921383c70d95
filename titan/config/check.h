// Is this job valid? Judges ranges and contradictions, whatever machine it will run on and whatever works yet (that is
// availability.h). What needs a model's sizes (heads against degrees) is checked with the model, into the same list.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "titan/config/job_config.h"
#include "titan/config/problems.h"

namespace titan::config {

// Adds a line for every key that is out of range or contradicts others on `world_size` ranks. `notes` gets a line for
// what is legal but has no effect. Where warm-up and decay do not fit the steps, optim::LrSchedule shortens them and
// says so.
void check(const JobConfig& config, int64_t world_size, Problems& problems, std::vector<std::string>& notes);

// Adds a line for every degree that does not fit a model of these sizes. The model calls it: sizes are its own. (Stages
// of a pipeline are checked with the model too. Hidden features and vocabulary may be spread unevenly; heads are spread
// whole, each with its group's.)
void check_degrees_against_model(const JobConfig& config, int64_t n_heads, int64_t n_kv_heads, Problems& problems);

// Adds a line for every file or folder that the job reads and that is not there, relative to the current directory.
void check_files(const JobConfig& config, Problems& problems);

// The number of ranks that share the data: dp_replicate x dp_shard, where a dp_shard of -1 takes the ranks that are
// left. At least 1, also for degrees that check() refuses.
int64_t data_parallel_degree(const JobConfig& config, int64_t world_size);

// The fewest ranks that the degrees allow: their product, a dp_shard of -1 counting as 1.
int64_t smallest_world_size(const JobConfig& config);

// training.global_batch_size, or where it is unset local_batch_size x data_parallel_degree.
int64_t global_batch_size(const JobConfig& config, int64_t world_size);

}  // namespace titan::config
