#include "titan/parallel/pipeline/schedule/schedule.h"

namespace titan::pipeline {

std::vector<int64_t> place_stages(StagePlacement placement, const PipelineShape& shape) {
  std::vector<int64_t> rank_of_stage;
  for (int64_t stage = 0; stage < shape.num_stages; ++stage) {
    const int64_t pass = stage / shape.num_ranks;
    const int64_t position = stage % shape.num_ranks;
    const bool goes_up = placement == StagePlacement::kV && pass % 2 == 1;
    rank_of_stage.push_back(goes_up ? shape.num_ranks - 1 - position : position);
  }
  return rank_of_stage;
}

}  // namespace titan::pipeline
