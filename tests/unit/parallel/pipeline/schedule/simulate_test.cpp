// Each schedule against the formula of its paper; p ranks, m microbatches, v stages per rank.
#include "titan/parallel/pipeline/schedule/simulate.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/parallel/pipeline/schedule/shapes.h"
#include "titan/parallel/pipeline/schedule/registry.h"

namespace titan::pipeline {
namespace {

constexpr double kExact = 1e-12;  // sums of a few small numbers

Timeline play(std::string_view name, const PipelineShape& shape, const ActionCosts& costs = {}) {
  return simulate(make_schedule(name, shape), costs);
}

double widest_bubble(const Timeline& timeline) {
  double widest = 0;
  for (const RankTimeline& rank : timeline.ranks) widest = std::max(widest, rank.bubble());
  return widest;
}

int64_t most_activations(const Timeline& timeline) {
  int64_t most = 0;
  for (const RankTimeline& rank : timeline.ranks) most = std::max(most, rank.peak_activations);
  return most;
}

// The forward need not be as long as the backward: the formulas hold for any costs of equal stages.
const std::vector<ActionCosts> kAnyCosts{{}, {1, 0.5, 0.5}, {1.5, 2, 1.75}};

TEST(Simulate, GPipeAnd1F1BIdleAsNarayanan) {
  for (const char* const name : {"GPipe", "1F1B"}) {
    for (const PipelineShape& shape : shapes_of(find_schedule(name))) {
      const auto p = static_cast<double>(shape.num_ranks);
      const auto m = static_cast<double>(shape.num_microbatches);
      for (const ActionCosts& costs : kAnyCosts) {
        EXPECT_NEAR(play(name, shape, costs).idle_share(), (p - 1) / (m + p - 1), kExact) << name << text_of(shape);
      }
    }
  }
}

TEST(Simulate, InterleavedIdlesAVthOfIt) {
  for (const PipelineShape& shape : shapes_of(find_schedule("Interleaved1F1B"))) {
    if (shape.num_microbatches % shape.num_ranks != 0) continue;
    const auto p = static_cast<double>(shape.num_ranks);
    const auto m = static_cast<double>(shape.num_microbatches);
    const auto v = static_cast<double>(shape.stages_per_rank());
    for (const ActionCosts& costs : kAnyCosts) {
      EXPECT_NEAR(play("Interleaved1F1B", shape, costs).idle_share(), (p - 1) / (v * m + p - 1), kExact)
          << text_of(shape);
    }
    const int64_t most = (shape.stages_per_rank() + 1) * shape.num_ranks - 1;
    const int64_t all = shape.stages_per_rank() * shape.num_microbatches;
    EXPECT_EQ(most_activations(play("Interleaved1F1B", shape)), std::min(most, all)) << text_of(shape);
  }
}

// Lamy-Poirier 2023: with at least as many microbatches as ranks no rank waits between its stages.
TEST(Simulate, LoopedBfsIdlesAsInterleaved) {
  for (const PipelineShape& shape : shapes_of(find_schedule("LoopedBFS"))) {
    if (shape.num_microbatches < shape.num_ranks) continue;
    const auto p = static_cast<double>(shape.num_ranks);
    const auto m = static_cast<double>(shape.num_microbatches);
    const auto v = static_cast<double>(shape.stages_per_rank());
    EXPECT_NEAR(play("LoopedBFS", shape).idle_share(), (p - 1) / (v * m + p - 1), kExact) << text_of(shape);
  }
}

// Qi et al., table 2: ZB-H1 has a bubble of (p - 1) (F + B - W), its B being our I, at 1F1B's memory: a third of 1F1B's
// bubble at unit costs. Over v stages per rank each of the terms is a v-th of the work, and so is the bubble.
TEST(Simulate, ZeroBubbleH1HasAThirdOf1F1BsBubble) {
  for (const PipelineShape& shape : shapes_of(find_schedule("InterleavedZeroBubble"))) {
    if (shape.num_microbatches % shape.num_ranks != 0) continue;
    const auto p = static_cast<double>(shape.num_ranks);
    const auto m = static_cast<double>(shape.num_microbatches);
    const auto v = static_cast<double>(shape.stages_per_rank());
    const Timeline timeline = play("InterleavedZeroBubble", shape);
    EXPECT_NEAR(widest_bubble(timeline), p - 1, kExact) << text_of(shape);
    EXPECT_NEAR(timeline.total, 3 * v * m + p - 1, kExact) << text_of(shape);
    EXPECT_EQ(most_activations(timeline), shape.num_stages) << text_of(shape);
    if (shape.num_stages > shape.num_ranks) continue;
    EXPECT_NEAR(widest_bubble(play("1F1B", shape)), 3 * (p - 1), kExact) << text_of(shape);
  }
}

// Qi et al., section 6: at unit costs no rank idles between its first action and its last, with 1F1B's memory (2 p
// stages of half size). Rank p - 1 starts p - 1 late, so no order of these actions is shorter.
TEST(Simulate, ZbvHasNoBubbleAtUnitCosts) {
  for (const PipelineShape& shape : shapes_of(find_schedule("ZBVZeroBubble"))) {
    if (shape.num_microbatches < 2 * shape.num_ranks - 1) continue;
    const auto p = static_cast<double>(shape.num_ranks);
    const auto m = static_cast<double>(shape.num_microbatches);
    const Timeline timeline = play("ZBVZeroBubble", shape);
    EXPECT_NEAR(widest_bubble(timeline), 0, kExact) << text_of(shape);
    EXPECT_NEAR(timeline.total, 6 * m + p - 1, kExact) << text_of(shape);
    EXPECT_EQ(most_activations(timeline), 2 * shape.num_ranks) << text_of(shape);
  }
}

// The table of github.com/deepseek-ai/DualPipe: (PP/2 - 1) (F&B + B - 3W), PP/2 being the ranks of the V, F&B the time
// of an overlapped pair; PP + 1 activations.
TEST(Simulate, DualPipeVHasItsAuthorsBubble) {
  for (const PipelineShape& shape : shapes_of(find_schedule("DualPipeV"))) {
    const auto p = static_cast<double>(shape.num_ranks);
    const auto m = static_cast<double>(shape.num_microbatches);
    const Timeline timeline = play("DualPipeV", shape);
    EXPECT_NEAR(timeline.total - 6 * m, (p - 1) * (3 + 2 - 3), kExact) << text_of(shape);
    if (shape.num_ranks > 1) {
      EXPECT_EQ(most_activations(timeline), 2 * shape.num_ranks + 1) << text_of(shape);
    }
  }
}

TEST(Simulate, CountsLiveActivations) {
  const Timeline gpipe = play("GPipe", {4, 4, 7});
  const Timeline one_f_one_b = play("1F1B", {4, 4, 7});
  for (int64_t rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(gpipe.ranks[rank].peak_activations, 7);
    EXPECT_EQ(one_f_one_b.ranks[rank].peak_activations, 4 - rank);
  }
  // A W keeps what its I left: 3 microbatches whose weight gradients all come last.
  const Schedule late_weights{
      {1, 1, 3}, {0}, {{F(0, 0), I(0, 0), F(0, 1), I(0, 1), F(0, 2), I(0, 2), W(0, 0), W(0, 1), W(0, 2)}}};
  EXPECT_EQ(simulate(late_weights).ranks[0].peak_activations, 3);
}

TEST(Simulate, MessagesTakeTimeBetweenRanksOnly) {
  // One microbatch down the V and up again: 4 F and 4 I, rank 1's W of stage 2 between its two I, and the last W. It
  // goes over and back on its way up and on its way down.
  const PipelineShape v{2, 4, 1};
  EXPECT_NEAR(play("ZBVZeroBubble", v, {1, 1, 1, 0}).total, 10, kExact);
  EXPECT_NEAR(play("ZBVZeroBubble", v, {1, 1, 1, 0.25}).total, 10 + 4 * 0.25, kExact);
  // In a loop every hop crosses ranks: 3 of 4 stages forward, 3 backward.
  EXPECT_NEAR(play("LoopedBFS", v, {1, 1, 1, 0.25}).total, 4 * 3 + 6 * 0.25, kExact);
}

TEST(Simulate, OverlapTakesAsLongAsItsParts) {
  // 0F0 1F0 | then 1F1 with 1B0's neighbour: an overlapped pair hands both results on at its end.
  const Schedule schedule{
      {1, 2, 2}, {0, 0}, {{F(0, 0), F(1, 0), F(0, 1), overlap(F(1, 1), B(1, 0)), B(1, 1), B(0, 0), B(0, 1)}}};
  const Timeline timeline = simulate(schedule, {1, 2, 4});
  EXPECT_NEAR(timeline.ranks[0].slots[3].end - timeline.ranks[0].slots[3].start, 7, kExact);
  EXPECT_NEAR(timeline.total, 4 * 7, kExact);
  EXPECT_NEAR(timeline.idle_share(), 0, kExact);
}

TEST(Simulate, NobodyRunsBeforeWhatItNeeds) {
  const ActionCosts costs{1.25, 1.5, 0.75, 0.5};
  for (const std::string_view name : schedule_names()) {
    const Schedule schedule = make_schedule(name, {4, 4 * find_schedule(name).default_stages_per_rank(), 8});
    const Timeline timeline = simulate(schedule, costs);
    std::vector<std::vector<double>> forward_end(schedule.shape.num_stages, std::vector<double>(8));
    auto backward_end = forward_end;
    for (const RankTimeline& rank : timeline.ranks) {
      for (const TimelineSlot& slot : rank.slots) {
        for (const Action& part : parts_of(slot.action)) {
          if (part.kind == ActionKind::kForward) forward_end[part.stage][part.microbatch] = slot.end;
          if (part.kind == ActionKind::kBackwardInput || part.kind == ActionKind::kFullBackward) {
            backward_end[part.stage][part.microbatch] = slot.end;
          }
        }
      }
    }
    for (const RankTimeline& rank : timeline.ranks) {
      double free = 0;
      for (const TimelineSlot& slot : rank.slots) {
        EXPECT_GE(slot.start, free);
        free = slot.end;
        EXPECT_NEAR(slot.end - slot.start, costs.of(slot.action), kExact);
        for (const Action& part : parts_of(slot.action)) {
          const bool forward = part.kind == ActionKind::kForward;
          const int64_t from = forward ? part.stage - 1 : part.stage + 1;
          if (part.kind == ActionKind::kBackwardWeight || from < 0 || from == schedule.shape.num_stages) continue;
          const double comm = schedule.rank_of_stage[from] == schedule.rank_of_stage[part.stage] ? 0 : costs.comm;
          EXPECT_GE(slot.start, (forward ? forward_end : backward_end)[from][part.microbatch] + comm) << name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace titan::pipeline
