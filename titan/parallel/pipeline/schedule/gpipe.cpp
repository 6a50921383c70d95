// GPipe (Huang et al. 2019, arXiv 1811.06965, section 2.3, figure 2c): every forward, then every backward. Simple, and
// every microbatch's activations are live at once.
#include "titan/parallel/pipeline/schedule/generators.h"

namespace titan::pipeline {

std::vector<Action> gpipe(const PipelineShape& shape, int64_t rank) {
  const int64_t stage = rank;
  std::vector<Action> actions;
  for (int64_t i = 0; i < shape.num_microbatches; ++i) actions.push_back(F(stage, i));
  for (int64_t i = 0; i < shape.num_microbatches; ++i) actions.push_back(B(stage, i));
  return actions;
}

}  // namespace titan::pipeline
