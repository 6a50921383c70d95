// Interleaved zero bubble: ZB-H1 (Qi et al. 2024, arXiv 2401.10241, section 2.1, figure 3 top) over stages in loops;
// with one stage per rank it is ZB-H1 itself. The backward is split: I as soon as its gradient comes, for the rank
// before waits for it, and W later, in what would be idle time. Rank r puts W off by r microbatches: the later ranks,
// which get their gradients first, fill the end with what they kept.
#include <algorithm>

#include "titan/parallel/pipeline/schedule/generators.h"
#include "titan/parallel/pipeline/schedule/interleaved_order.h"

namespace titan::pipeline {

std::vector<Action> interleaved_zero_bubble(const PipelineShape& shape, int64_t rank) {
  const InterleavedOrder order(shape, rank);
  const int64_t total = shape.num_microbatches * shape.stages_per_rank();
  // One forward more per hop, not two as in 1F1B: an input gradient is back in half the time of a full backward.
  const int64_t until_last_stage = (shape.stages_per_rank() - 1) * order.round_size();
  const int64_t num_warmup = std::min(until_last_stage + shape.num_ranks - 1 - rank, total);

  std::vector<Action> actions;
  int64_t forward = 0;
  int64_t input = 0;
  int64_t weight = 0;
  const auto next_forward = [&] {
    actions.push_back(F(order.forward_stage(forward), order.microbatch(forward)));
    ++forward;
  };
  const auto next_input = [&] {
    actions.push_back(I(order.backward_stage(input), order.microbatch(input)));
    ++input;
  };
  const auto next_weight = [&] {
    actions.push_back(W(order.backward_stage(weight), order.microbatch(weight)));
    ++weight;
  };

  // 1. Warm up.
  while (forward < num_warmup) next_forward();

  // 2. Steady: one forward, one input gradient, and the weight gradient of `rank` microbatches ago.
  // 3. Drain: the same without forwards.
  while (input < total) {
    if (forward < total) next_forward();
    next_input();
    if (input - weight > rank) next_weight();
  }

  // 4. The weight gradients that were put off.
  while (weight < total) next_weight();
  return actions;
}

}  // namespace titan::pipeline
