// ZB-V (Qi et al. 2024, arXiv 2401.10241, section 6; "Pipeline Parallelism with Controllable Memory", arXiv
// 2405.15362): two stages per rank in a V, down the ranks and up again, so that the rank of the first forward is the
// rank of the first backward. Where F, I and W take the same time, no rank idles between its first action and its last,
// and at most 2 num_ranks half-size activations are live on each, as many bytes as in 1F1B.
#include <algorithm>

#include "titan/parallel/pipeline/schedule/generators.h"

namespace titan::pipeline {
namespace {

// One of the rank's two stages, and how far each kind of action is.
struct Chunk {
  int64_t stage;
  int64_t forwards = 0, inputs = 0, weights = 0;
};

}  // namespace

std::vector<Action> zbv_zero_bubble(const PipelineShape& shape, int64_t rank) {
  const int64_t num_ranks = shape.num_ranks;
  // The pattern is whole from 2 num_ranks - 1 microbatches on. With fewer, the actions of those that are not there fall
  // out of it.
  const int64_t num_microbatches = std::max(2 * num_ranks - 1, shape.num_microbatches);
  Chunk down{rank};
  Chunk up{2 * num_ranks - 1 - rank};

  std::vector<Action> actions;
  const auto add = [&](const Action& action) {
    if (action.microbatch < shape.num_microbatches) actions.push_back(action);
  };
  const auto forward = [&](Chunk& chunk) { add(F(chunk.stage, chunk.forwards++)); };
  const auto input = [&](Chunk& chunk) { add(I(chunk.stage, chunk.inputs++)); };
  const auto weight = [&](Chunk& chunk) { add(W(chunk.stage, chunk.weights++)); };
  const auto backward = [&](Chunk& chunk) {
    input(chunk);
    weight(chunk);
  };

  // 1. Warm up: forwards on the way down until the first microbatch has come up again,
  for (int64_t i = 0; i < 2 * (num_ranks - rank) - 1; ++i) forward(down);
  //    then forwards of both ways in turn,
  for (int64_t i = 0; i < rank; ++i) {
    forward(up);
    forward(down);
  }
  //    then the first backwards.
  for (int64_t i = 0; i < num_ranks - rank; ++i) {
    forward(up);
    backward(up);
  }

  // 2. Steady: six actions a microbatch, F I W of each way.
  while (up.forwards < down.forwards || down.forwards < num_microbatches) {
    if (down.forwards < num_microbatches) forward(down);
    backward(down);
    forward(up);
    backward(up);
  }

  // 3. Drain: input gradients first, for others wait for them; weight gradients fill the end.
  for (int64_t i = 0; i < rank; ++i) {
    input(down);
    input(up);
  }
  for (int64_t i = 0; i < num_ranks - rank; ++i) backward(down);
  while (up.weights < up.inputs) weight(up);
  while (down.weights < down.inputs) weight(down);
  return actions;
}

}  // namespace titan::pipeline
