// DualPipeV: the V-shaped half of DualPipe (DeepSeek-AI 2024, DeepSeek-V3 technical report, arXiv 2412.19437, section
// 3.2.1, figure 5; the V is "DualPipeV" of github.com/deepseek-ai/DualPipe). Two stages per rank, down the ranks and up
// again; a forward of one way and a backward of the other run as one action, so that each hides the other's all-to-all.
// The steps are numbered as in the authors' figure.
#include <deque>
#include <utility>

#include "titan/parallel/pipeline/schedule/generators.h"

namespace titan::pipeline {
namespace {

// One of the rank's two stages, and which microbatch is next.
struct Chunk {
  int64_t stage;
  int64_t forwards = 0, backwards = 0;
};

}  // namespace

std::vector<Action> dual_pipe_v(const PipelineShape& shape, int64_t rank) {
  const int64_t ranks_after = shape.num_ranks - 1 - rank;
  Chunk down{rank};
  Chunk up{2 * shape.num_ranks - 1 - rank};

  std::vector<Action> actions;
  std::deque<Action> put_off;  // weight gradients, oldest first
  const auto forward = [&](Chunk& chunk) { actions.push_back(F(chunk.stage, chunk.forwards++)); };
  const auto full_backward = [&](Chunk& chunk) { actions.push_back(B(chunk.stage, chunk.backwards++)); };
  const auto input = [&](Chunk& chunk) {
    actions.push_back(I(chunk.stage, chunk.backwards));
    put_off.push_back(W(chunk.stage, chunk.backwards++));
  };
  const auto weight = [&] {
    actions.push_back(std::move(put_off.front()));
    put_off.pop_front();
  };
  const auto forward_with_backward = [&](Chunk& ahead, Chunk& back) {
    actions.push_back(overlap(F(ahead.stage, ahead.forwards++), B(back.stage, back.backwards++)));
  };

  // 1. Forwards on the way down.
  for (int64_t i = 0; i < 2 * ranks_after; ++i) forward(down);

  // 2. Forwards of both ways.
  for (int64_t i = 0; i < rank + 1; ++i) {
    forward(down);
    forward(up);
  }

  // 3. The first backwards, split: the rank after this one gets its gradient early.
  for (int64_t i = 0; i < ranks_after; ++i) {
    input(up);
    weight();
    forward(up);
  }

  // 4. The main step: a forward of each way with a backward of the other.
  const int64_t num_main = shape.num_microbatches - 2 * shape.num_ranks + rank + 1;
  for (int64_t i = 0; i < num_main; ++i) {
    if (i == 0 && ranks_after == 0) {
      // At the turn of the V nothing has to travel yet; apart, the backward's gradient leaves sooner.
      forward(down);
      full_backward(up);
    } else {
      forward_with_backward(down, up);
    }
    forward_with_backward(up, down);
  }

  // 5. No more forwards on the way down.
  for (int64_t i = 0; i < ranks_after; ++i) {
    full_backward(up);
    forward_with_backward(up, down);
  }

  // 6. Backwards of both ways; in the second half split, to have weight gradients for the idle time to come.
  const int64_t num_both = rank + 1;
  for (int64_t i = 0; i < 2 * num_both; ++i) {
    Chunk& chunk = i % 2 == 0 ? up : down;
    if (i < num_both) {
      full_backward(chunk);
    } else {
      input(chunk);
    }
  }

  // 7. The last backwards on the way down, with weight gradients while the next gradient is on its way.
  for (int64_t i = 0; i < ranks_after; ++i) {
    weight();
    input(down);
  }

  // 8. The weight gradients that are left.
  while (!put_off.empty()) weight();
  return actions;
}

}  // namespace titan::pipeline
