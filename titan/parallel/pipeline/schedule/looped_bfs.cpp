// Looped breadth-first (Lamy-Poirier 2023, arXiv 2211.05953): stages lie in loops, and a rank
// runs all microbatches through one stage before it turns to its next. So a stage's parameters are gathered once for
// all microbatches, and its gradients reduced once, early; every activation is live at once. Backwards come in the
// opposite order of forwards, as in PyTorch.
#include "titan/parallel/pipeline/schedule/generators.h"

namespace titan::pipeline {

std::vector<Action> looped_bfs(const PipelineShape& shape, int64_t rank) {
  std::vector<Action> actions;
  for (int64_t stage = rank; stage < shape.num_stages; stage += shape.num_ranks) {
    for (int64_t i = 0; i < shape.num_microbatches; ++i) actions.push_back(F(stage, i));
  }
  for (int64_t stage = shape.num_stages - shape.num_ranks + rank; stage >= 0; stage -= shape.num_ranks) {
    for (int64_t i = shape.num_microbatches - 1; i >= 0; --i) actions.push_back(B(stage, i));
  }
  return actions;
}

}  // namespace titan::pipeline
