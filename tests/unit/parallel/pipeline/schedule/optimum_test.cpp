// Against brute force: every order of every rank's actions at small sizes, played. Microbatches are alike, so each kind
// of action of a stage takes them in turn. ZB-V needs no search: simulate_test.cpp holds it to a bound.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "titan/parallel/pipeline/schedule/registry.h"
#include "titan/parallel/pipeline/schedule/simulate.h"

namespace titan::pipeline {
namespace {

// What a rank does with one microbatch; the k-th entry may not come before the `after`-th.
struct Step {
  ActionKind kind;
  int64_t stage;
  int after;  // -1: nothing
};

// All orders of `num_microbatches` times `steps` on one rank with at most `most_live` forwards without their last step.
std::vector<std::vector<Action>> orders_of(const std::vector<Step>& steps, int64_t num_microbatches,
                                           int64_t most_live) {
  std::vector<std::vector<Action>> orders;
  std::vector<Action> order;
  std::vector<int64_t> done(steps.size());
  const std::function<void(int64_t)> extend = [&](int64_t live) {
    if (order.size() == steps.size() * num_microbatches) orders.push_back(order);
    for (size_t i = 0; i < steps.size(); ++i) {
      const auto& [kind, stage, after] = steps[i];
      if (done[i] == num_microbatches || (after >= 0 && done[after] == done[i])) continue;
      const bool keeps = kind == ActionKind::kForward;
      const bool frees = kind == ActionKind::kFullBackward || kind == ActionKind::kBackwardWeight;
      if (keeps && live == most_live) continue;
      order.push_back(Action{stage, kind, done[i]++, {}});
      extend(live + (keeps ? 1 : 0) - (frees ? 1 : 0));
      order.pop_back();
      --done[i];
    }
  };
  extend(0);
  return orders;
}

// The shortest time over all combinations of the ranks' orders.
double shortest(const Schedule& placement, const std::vector<std::vector<std::vector<Action>>>& orders,
                const ActionCosts& costs) {
  double best = std::numeric_limits<double>::max();
  Schedule schedule = placement;
  const std::function<void(size_t)> choose = [&](size_t rank) {
    if (rank == orders.size()) {
      const Timeline timeline = simulate(schedule, costs);
      if (!timeline.deadlock) best = std::min(best, timeline.total);
      return;
    }
    for (const std::vector<Action>& order : orders[rank]) {
      schedule.ranks[rank] = order;
      choose(rank + 1);
    }
  };
  choose(0);
  return best;
}

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
using enum ActionKind;

TEST(Optimum, NoOrderOfWholeBackwardsIsShorterThanGPipeAnd1F1B) {
  for (const PipelineShape& shape : {PipelineShape{2, 2, 2}, {2, 2, 5}, {3, 3, 3}, {3, 3, 4}}) {
    for (const ActionCosts& costs : {ActionCosts{}, ActionCosts{2, 1, 1.5}}) {
      const Schedule gpipe = make_schedule("GPipe", shape);
      std::vector<std::vector<std::vector<Action>>> orders;
      for (int64_t rank = 0; rank < shape.num_ranks; ++rank) {
        orders.push_back(orders_of({{kForward, rank, -1}, {kFullBackward, rank, 0}}, shape.num_microbatches, kNoLimit));
      }
      const double best = shortest(gpipe, orders, costs);
      EXPECT_DOUBLE_EQ(simulate(gpipe, costs).total, best);
      EXPECT_DOUBLE_EQ(simulate(make_schedule("1F1B", shape), costs).total, best);
    }
  }
}

TEST(Optimum, WithFewerActivationsThan1F1BItTakesLonger) {
  const PipelineShape shape{3, 3, 4};
  const Schedule one_f_one_b = make_schedule("1F1B", shape);
  const Timeline timeline = simulate(one_f_one_b);
  for (int64_t tight = 0; tight < shape.num_ranks - 1; ++tight) {  // the last rank's 1 cannot be less
    std::vector<std::vector<std::vector<Action>>> orders;
    for (int64_t rank = 0; rank < shape.num_ranks; ++rank) {
      const int64_t most_live = rank == tight ? timeline.ranks[rank].peak_activations - 1 : kNoLimit;
      orders.push_back(orders_of({{kForward, rank, -1}, {kFullBackward, rank, 0}}, shape.num_microbatches, most_live));
    }
    EXPECT_GT(shortest(one_f_one_b, orders, {}), timeline.total) << "rank " << tight;
  }
}

TEST(Optimum, NoOrderOverTwoLoopsIsShorterThanInterleaved1F1B) {
  const PipelineShape shape{2, 4, 2};
  const Schedule interleaved = make_schedule("Interleaved1F1B", shape);
  for (const ActionCosts& costs : {ActionCosts{}, ActionCosts{2, 1, 1.5}}) {
    std::vector<std::vector<std::vector<Action>>> orders;
    for (int64_t rank = 0; rank < 2; ++rank) {
      orders.push_back(orders_of(
          {{kForward, rank, -1}, {kForward, rank + 2, 0}, {kFullBackward, rank + 2, 1}, {kFullBackward, rank, 2}},
          shape.num_microbatches, kNoLimit));
    }
    EXPECT_DOUBLE_EQ(simulate(interleaved, costs).total, shortest(interleaved, orders, costs));
  }
}

// Split backwards, and no more activations than 1F1B keeps on its first rank: ZB-H1's claim.
TEST(Optimum, NoOrderOfSplitBackwardsInTheSameMemoryIsShorterThanZeroBubble) {
  for (const PipelineShape& shape : {PipelineShape{2, 2, 2}, {2, 2, 3}, {2, 2, 4}}) {
    const Schedule zero_bubble = make_schedule("InterleavedZeroBubble", shape);
    std::vector<std::vector<std::vector<Action>>> orders;
    for (int64_t rank = 0; rank < shape.num_ranks; ++rank) {
      orders.push_back(orders_of({{kForward, rank, -1}, {kBackwardInput, rank, 0}, {kBackwardWeight, rank, 1}},
                                 shape.num_microbatches, shape.num_ranks));
    }
    EXPECT_DOUBLE_EQ(simulate(zero_bubble).total, shortest(zero_bubble, orders, {}));
  }
}

}  // namespace
}  // namespace titan::pipeline
