// 1F1B (PipeDream-flush; Narayanan et al. 2021, arXiv 2104.04473, section 2.2, figure 4 top): warm up, then one forward
// per backward, then drain. As long as GPipe, but at most num_ranks - rank microbatches are live at once.
#include "titan/parallel/pipeline/schedule/generators.h"

namespace titan::pipeline {

std::vector<Action> one_f_one_b(const PipelineShape& shape, int64_t rank) {
  const int64_t stage = rank;
  const int64_t num_warmup = shape.num_ranks - 1 - rank;
  std::vector<Action> actions;
  int64_t forward = 0;
  int64_t backward = 0;

  // 1. Warm up: forwards only, one more the earlier the stage.
  while (forward < num_warmup) actions.push_back(F(stage, forward++));

  // 2. Steady: one forward, one backward.
  while (forward < shape.num_microbatches) {
    actions.push_back(F(stage, forward++));
    actions.push_back(B(stage, backward++));
  }

  // 3. Drain: the backwards that are left.
  while (backward < shape.num_microbatches) actions.push_back(B(stage, backward++));
  return actions;
}

}  // namespace titan::pipeline
