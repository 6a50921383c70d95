// The small shapes that a schedule is defined for: with fewer microbatches than ranks, as many, more, odd numbers.
#pragma once

#include <string>
#include <vector>

#include "titan/parallel/pipeline/schedule/interleaved_order.h"
#include "titan/parallel/pipeline/schedule/registry.h"

namespace titan::pipeline {

inline std::vector<PipelineShape> shapes_of(const ScheduleKind& kind) {
  std::vector<PipelineShape> shapes;
  for (int64_t num_ranks = 1; num_ranks <= 6; ++num_ranks) {
    for (int64_t stages_per_rank = 1; stages_per_rank <= 4; ++stages_per_rank) {
      for (int64_t num_microbatches = 1; num_microbatches <= 20; ++num_microbatches) {
        const PipelineShape shape{num_ranks, num_ranks * stages_per_rank, num_microbatches};
        if (kind.stages_per_rank != 0 && kind.stages_per_rank != stages_per_rank) continue;
        if (kind.needs_a_microbatch_per_stage && num_microbatches < shape.num_stages) continue;
        if (kind.in_rounds && num_microbatches % InterleavedOrder::num_rounds(shape) != 0) continue;
        shapes.push_back(shape);
      }
    }
  }
  return shapes;
}

inline std::string text_of(const PipelineShape& shape) {
  return std::to_string(shape.num_ranks) + " ranks, " + std::to_string(shape.num_stages) + " stages, " +
         std::to_string(shape.num_microbatches) + " microbatches";
}

}  // namespace titan::pipeline
