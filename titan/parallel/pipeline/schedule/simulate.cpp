#include "titan/parallel/pipeline/schedule/simulate.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>

namespace titan::pipeline {
namespace {

class Player {
 public:
  Player(const Schedule& schedule, const std::vector<ActionCosts>& by_stage)
      : schedule_(schedule),
        costs_(by_stage),
        forward_end_(schedule.shape.num_stages * schedule.shape.num_microbatches),
        input_end_(forward_end_.size()),
        next_(schedule.ranks.size()),
        live_(schedule.ranks.size()) {
    timeline_.ranks.resize(schedule.ranks.size());
  }

  Timeline play() {
    bool progress = true;
    while (progress) {
      progress = false;
      for (size_t rank = 0; rank < schedule_.ranks.size(); ++rank) {
        while (run_next(rank)) progress = true;
      }
    }
    for (const RankTimeline& rank : timeline_.ranks) {
      if (!rank.slots.empty()) timeline_.total = std::max(timeline_.total, rank.slots.back().end);
    }
    timeline_.deadlock = find_deadlock();
    return std::move(timeline_);
  }

 private:
  using Ends = std::vector<std::optional<double>>;

  std::optional<double>& at(Ends& ends, int64_t stage, int64_t microbatch) {
    return ends.at(stage * schedule_.shape.num_microbatches + microbatch);
  }

  // What `part` waits for on other stages: the forward before it, or the input gradient of the stage after it.
  std::optional<Action> input_of(const Action& part) const {
    if (part.kind == ActionKind::kForward && part.stage > 0) return F(part.stage - 1, part.microbatch);
    const bool is_backward = part.kind == ActionKind::kBackwardInput || part.kind == ActionKind::kFullBackward;
    if (is_backward && part.stage < schedule_.shape.num_stages - 1) return I(part.stage + 1, part.microbatch);
    return {};
  }

  // When the input of `part` is on its rank, if that is known yet.
  std::optional<double> arrival(const Action& part) {
    const std::optional<Action> input = input_of(part);
    if (!input) return 0;
    Ends& ends = input->kind == ActionKind::kForward ? forward_end_ : input_end_;
    const std::optional<double> end = at(ends, input->stage, input->microbatch);
    if (!end) return {};
    const auto& rank_of = schedule_.rank_of_stage;
    return rank_of.at(input->stage) == rank_of.at(part.stage) ? *end : *end + costs_.front().comm;
  }

  // Runs the rank's next action if all that it waits for is known.
  bool run_next(size_t rank) {
    const std::vector<Action>& actions = schedule_.ranks[rank];
    if (next_[rank] == actions.size()) return false;
    const Action& action = actions[next_[rank]];
    RankTimeline& timeline = timeline_.ranks[rank];

    double start = timeline.slots.empty() ? 0 : timeline.slots.back().end;
    for (const Action& part : parts_of(action)) {
      const std::optional<double> arrived = arrival(part);
      if (!arrived) return false;
      start = std::max(start, *arrived);
    }
    double end = start;
    for (const Action& part : parts_of(action)) end += costs_.at(static_cast<size_t>(part.stage)).of(part);
    for (const Action& part : parts_of(action)) finish(part, rank, end);
    timeline.slots.push_back(TimelineSlot{action, start, end});
    timeline.busy += end - start;
    ++next_[rank];
    return true;
  }

  void finish(const Action& part, size_t rank, double end) {
    const ActionKind kind = part.kind;
    if (kind == ActionKind::kForward) {
      at(forward_end_, part.stage, part.microbatch) = end;
      ++live_[rank];
    } else if (kind != ActionKind::kBackwardWeight) {
      at(input_end_, part.stage, part.microbatch) = end;
    }
    timeline_.ranks[rank].peak_activations = std::max(timeline_.ranks[rank].peak_activations, live_[rank]);
    if (kind == ActionKind::kFullBackward || kind == ActionKind::kBackwardWeight) --live_[rank];
  }

  std::optional<Fault> find_deadlock() {
    for (size_t rank = 0; rank < next_.size(); ++rank) {
      if (next_[rank] == schedule_.ranks[rank].size()) continue;
      const Action& action = schedule_.ranks[rank][next_[rank]];
      for (const Action& part : parts_of(action)) {
        if (arrival(part)) continue;
        const Action input = *input_of(part);
        const int64_t other = schedule_.rank_of_stage.at(input.stage);
        const auto& others = schedule_.ranks.at(other);
        const std::string state =
            next_[other] == others.size()
                ? std::string("is done")
                : fmt::format("is at its action {} ({})", next_[other] + 1, to_string(others[next_[other]]));
        const char* const what = input.kind == ActionKind::kForward ? "forward" : "backward";
        return Fault{static_cast<int64_t>(rank), static_cast<int64_t>(next_[rank]),
                     fmt::format("waits for ever for the {} of stage {}, microbatch {}: rank {} {}", what, input.stage,
                                 input.microbatch, other, state)};
      }
    }
    return {};
  }

  const Schedule& schedule_;
  const std::vector<ActionCosts>& costs_;  // [stage]
  Ends forward_end_, input_end_;           // [stage, microbatch]
  std::vector<size_t> next_;               // [rank]: position of the next action
  std::vector<int64_t> live_;              // [rank]: activations
  Timeline timeline_;
};

}  // namespace

double ActionCosts::of(const Action& action) const {
  switch (action.kind) {
    case ActionKind::kForward:
      return forward;
    case ActionKind::kBackwardInput:
      return input;
    case ActionKind::kBackwardWeight:
      return weight;
    case ActionKind::kFullBackward:
      return input + weight;
    case ActionKind::kOverlap:
      return forward + input + weight;
    default:
      TORCH_INTERNAL_ASSERT(false, "the simulator plays compute actions, not ", to_string(action));
  }
}

double RankTimeline::bubble() const { return slots.empty() ? 0 : slots.back().end - slots.front().start - busy; }

double Timeline::idle_share() const {
  if (total == 0) return 0;
  double busy = 0;
  for (const RankTimeline& rank : ranks) busy += rank.busy;
  return 1 - busy / (static_cast<double>(ranks.size()) * total);
}

Timeline simulate(const Schedule& schedule, const ActionCosts& costs) {
  return simulate(schedule, std::vector<ActionCosts>(static_cast<size_t>(schedule.shape.num_stages), costs));
}

Timeline simulate(const Schedule& schedule, const std::vector<ActionCosts>& by_stage) {
  TORCH_INTERNAL_ASSERT(static_cast<int64_t>(by_stage.size()) == schedule.shape.num_stages);
  return Player(schedule, by_stage).play();
}

}  // namespace titan::pipeline
