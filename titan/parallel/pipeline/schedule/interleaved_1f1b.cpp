// Interleaved 1F1B (Narayanan et al. 2021, arXiv 2104.04473, section 2.2, figure 4 bottom): 1F1B over several stages
// per rank. A stage is a v-th of the work, so filling and draining take a v-th of the time; the price is more messages
// and activations.
#include <algorithm>

#include "titan/parallel/pipeline/schedule/generators.h"
#include "titan/parallel/pipeline/schedule/interleaved_order.h"

namespace titan::pipeline {

std::vector<Action> interleaved_1f1b(const PipelineShape& shape, int64_t rank) {
  const InterleavedOrder order(shape, rank);
  const int64_t total = shape.num_microbatches * shape.stages_per_rank();
  // The last rank begins backwards as soon as the first round reaches its last stage. A rank before it runs two
  // forwards more per hop: a microbatch is that much longer on its way there and back.
  const int64_t until_last_stage = (shape.stages_per_rank() - 1) * order.round_size();
  const int64_t num_warmup = std::min(until_last_stage + 2 * (shape.num_ranks - 1 - rank), total);

  std::vector<Action> actions;
  int64_t forward = 0;
  int64_t backward = 0;
  const auto next_forward = [&] {
    actions.push_back(F(order.forward_stage(forward), order.microbatch(forward)));
    ++forward;
  };
  const auto next_backward = [&] {
    actions.push_back(B(order.backward_stage(backward), order.microbatch(backward)));
    ++backward;
  };

  // 1. Warm up.
  while (forward < num_warmup) next_forward();

  // 2. Steady: one forward, one backward.
  while (forward < total) {
    next_forward();
    next_backward();
  }

  // 3. Drain.
  while (backward < total) next_backward();
  return actions;
}

}  // namespace titan::pipeline
