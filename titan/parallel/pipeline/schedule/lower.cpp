#include "titan/parallel/pipeline/schedule/lower.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <tuple>
#include <utility>

namespace titan::pipeline {
namespace {

Action whole_stage(int64_t stage, ActionKind kind) { return {stage, kind, Action::kNone, {}}; }

// The stages of the next actions in order of first use, until there are `count`.
std::vector<int64_t> next_stages(std::span<const Action> actions, int64_t count) {
  std::vector<int64_t> stages;
  for (const Action& action : actions) {
    for (const Action& part : parts_of(action)) {
      if (std::find(stages.begin(), stages.end(), part.stage) == stages.end()) stages.push_back(part.stage);
    }
    if (static_cast<int64_t>(stages.size()) >= count) break;
  }
  return stages;
}

std::vector<Action> with_unshard(const std::vector<Action>& actions, int64_t max_active_stages) {
  std::vector<Action> lowered;
  std::set<int64_t> active;
  for (size_t i = 0; i < actions.size(); ++i) {
    const std::vector<int64_t> needed = next_stages(std::span(actions).subspan(i), max_active_stages);
    // First free, then gather: the peak is what it has to be.
    for (auto stage = active.begin(); stage != active.end();) {
      if (std::find(needed.begin(), needed.end(), *stage) != needed.end()) {
        ++stage;
        continue;
      }
      lowered.push_back(whole_stage(*stage, ActionKind::kReshard));
      stage = active.erase(stage);
    }
    for (const int64_t stage : needed) {
      if (active.insert(stage).second) lowered.push_back(whole_stage(stage, ActionKind::kUnshard));
    }
    lowered.push_back(actions[i]);
  }
  for (const int64_t stage : active) lowered.push_back(whole_stage(stage, ActionKind::kReshard));
  return lowered;
}

std::vector<Action> with_reduce_grad(const std::vector<Action>& actions, int64_t num_microbatches) {
  std::vector<Action> lowered;
  std::map<int64_t, int64_t> num_backwards;  // by stage
  for (const Action& action : actions) {
    lowered.push_back(action);
    for (const Action& part : parts_of(action)) {
      if (part.kind != ActionKind::kFullBackward && part.kind != ActionKind::kBackwardWeight) continue;
      if (++num_backwards[part.stage] == num_microbatches) {
        lowered.push_back(whole_stage(part.stage, ActionKind::kReduceGrad));
      }
    }
  }
  return lowered;
}

// Adds SEND and RECV by playing the schedule: one pass over the ranks after another, an action of each that can run.
class MessageInsertion {
 public:
  explicit MessageInsertion(const Schedule& schedule)
      : schedule_(schedule), lowered_(schedule), next_(schedule.ranks.size()) {
    for (std::vector<Action>& actions : lowered_.ranks) actions.clear();
  }

  Schedule run() {
    bool progress = true;
    while (progress) {
      progress = false;
      for (size_t rank = 0; rank < next_.size(); ++rank) progress |= run_next(rank);
    }
    for (size_t rank = 0; rank < next_.size(); ++rank) {
      TORCH_INTERNAL_ASSERT(next_[rank] == schedule_.ranks[rank].size(), "lower() got a schedule that is not valid");
    }
    return std::move(lowered_);
  }

 private:
  enum class Direction : uint8_t { kForward, kBackward };

  static std::optional<Direction> direction_of(const Action& part) {
    if (part.kind == ActionKind::kForward) return Direction::kForward;
    const bool hands_on = part.kind == ActionKind::kBackwardInput || part.kind == ActionKind::kFullBackward;
    return hands_on ? std::optional(Direction::kBackward) : std::nullopt;
  }

  bool is_ready(const Action& part) const {
    const std::optional<Direction> direction = direction_of(part);
    if (!direction) return true;
    const bool begins = part.stage == (*direction == Direction::kForward ? 0 : schedule_.shape.num_stages - 1);
    return begins || arrived_.contains({*direction, part.stage, part.microbatch});
  }

  bool run_next(size_t rank) {
    const std::vector<Action>& actions = schedule_.ranks[rank];
    if (next_[rank] == actions.size()) return false;
    const Action& action = actions[next_[rank]];
    const std::span<const Action> parts = parts_of(action);
    if (!std::all_of(parts.begin(), parts.end(), [&](const Action& part) { return is_ready(part); })) return false;

    lowered_.ranks[rank].push_back(action);
    for (const Action& part : parts) hand_on(part, rank);
    ++next_[rank];
    return true;
  }

  // What `part` made goes to the next stage, or to the one before.
  void hand_on(const Action& part, size_t rank) {
    const std::optional<Direction> direction = direction_of(part);
    if (!direction) return;
    const bool forward = *direction == Direction::kForward;
    const int64_t to = forward ? part.stage + 1 : part.stage - 1;
    if (to < 0 || to == schedule_.shape.num_stages) return;
    arrived_.insert({*direction, to, part.microbatch});
    const auto to_rank = static_cast<size_t>(schedule_.rank_of_stage.at(to));
    if (to_rank == rank) return;
    const ActionKind send = forward ? ActionKind::kSendForward : ActionKind::kSendBackward;
    const ActionKind recv = forward ? ActionKind::kRecvForward : ActionKind::kRecvBackward;
    lowered_.ranks[rank].push_back(Action{part.stage, send, part.microbatch, {}});
    lowered_.ranks[to_rank].push_back(Action{to, recv, part.microbatch, {}});
  }

  const Schedule& schedule_;
  Schedule lowered_;
  std::vector<size_t> next_;                                   // [rank]: position of the next action
  std::set<std::tuple<Direction, int64_t, int64_t>> arrived_;  // inputs of (stage, microbatch) that are on its rank
};

}  // namespace

Schedule lower(const Schedule& schedule, const LoweringOptions& options) {
  Schedule with_stage_actions = schedule;
  for (std::vector<Action>& actions : with_stage_actions.ranks) {
    actions = with_reduce_grad(with_unshard(actions, options.max_active_stages), schedule.shape.num_microbatches);
  }
  return MessageInsertion(with_stage_actions).run();
}

}  // namespace titan::pipeline
