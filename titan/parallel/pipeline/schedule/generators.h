// The schedules known by name, each in a file of its own that reads like its paper. Each function returns what `rank`
// is to do, compute actions only; the registry checks the shape before it calls one.
#pragma once

#include <cstdint>
#include <vector>

#include "titan/parallel/pipeline/schedule/schedule.h"

namespace titan::pipeline {

// One stage per rank.
std::vector<Action> gpipe(const PipelineShape& shape, int64_t rank);
std::vector<Action> one_f_one_b(const PipelineShape& shape, int64_t rank);

// Several stages per rank, in loops.
std::vector<Action> looped_bfs(const PipelineShape& shape, int64_t rank);
std::vector<Action> interleaved_1f1b(const PipelineShape& shape, int64_t rank);
std::vector<Action> interleaved_zero_bubble(const PipelineShape& shape, int64_t rank);

// Two stages per rank, in a V.
std::vector<Action> zbv_zero_bubble(const PipelineShape& shape, int64_t rank);
std::vector<Action> dual_pipe_v(const PipelineShape& shape, int64_t rank);

}  // namespace titan::pipeline
