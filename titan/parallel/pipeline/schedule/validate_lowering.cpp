#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "titan/parallel/pipeline/schedule/validate.h"

namespace titan::pipeline {
namespace {

using enum ActionKind;

// What one rank's own list must hold, whatever the others do.
class RankCheck {
 public:
  RankCheck(const Schedule& lowered, int64_t rank) : lowered_(lowered), rank_(rank) {}

  std::optional<Fault> run() {
    const std::vector<Action>& actions = lowered_.ranks[rank_];
    for (size_t i = 0; i < actions.size(); ++i) {
      for (const Action& part : parts_of(actions[i])) {
        std::string message = take(part);
        if (!message.empty()) return Fault{rank_, static_cast<int64_t>(i), std::move(message)};
      }
    }
    if (!unsharded_.empty()) {
      return Fault{rank_, Fault::kWholeRank, fmt::format("stage {} stays unsharded", *unsharded_.begin())};
    }
    for (int64_t stage = 0; stage < lowered_.shape.num_stages; ++stage) {
      if (lowered_.rank_of_stage[stage] == rank_ && !reduced_.contains(stage)) {
        return Fault{rank_, Fault::kWholeRank, fmt::format("the gradients of stage {} are not reduced", stage)};
      }
    }
    return {};
  }

 private:
  // Returns what is wrong with `part`, "" if nothing is.
  std::string take(const Action& part) {
    const auto [num_ranks, num_stages, num_microbatches] = lowered_.shape;
    switch (part.kind) {
      case kUnshard:
        return unsharded_.insert(part.stage).second ? "" : "the stage is unsharded already";
      case kReshard:
        return unsharded_.erase(part.stage) == 1 ? "" : "the stage is not unsharded";
      case kReduceGrad:
        if (num_backwards_[part.stage] != num_microbatches) return "comes before the last backward of the stage";
        return reduced_.insert(part.stage).second ? "" : "comes twice";
      case kRecvForward:
        return received(kForward, part);
      case kRecvBackward:
        return received(kBackwardInput, part);
      case kSendForward:
        return is_done(kForward, part.stage, part.microbatch) ? "" : "comes before what makes it";
      case kSendBackward:
        return is_done(kBackwardInput, part.stage, part.microbatch) ? "" : "comes before what makes it";
      default:
        return compute(part);
    }
  }

  std::string received(ActionKind kind, const Action& part) {
    return inputs_.insert({kind, part.stage, part.microbatch}).second ? "" : "comes twice";
  }

  std::string compute(const Action& part) {
    if (!unsharded_.contains(part.stage)) return "the stage is not unsharded";
    if (part.kind != kBackwardWeight) {
      const bool forward = part.kind == kForward;
      const ActionKind kind = forward ? kForward : kBackwardInput;
      const int64_t from = forward ? part.stage - 1 : part.stage + 1;
      const bool has_source = from >= 0 && from < lowered_.shape.num_stages;
      if (has_source && !is_done(kind, from, part.microbatch) &&
          !inputs_.contains({kind, part.stage, part.microbatch})) {
        return "comes before its input";
      }
      done_.insert({kind, part.stage, part.microbatch});
    }
    if (part.kind == kBackwardWeight || part.kind == kFullBackward) ++num_backwards_[part.stage];
    return "";
  }

  using Key = std::tuple<ActionKind, int64_t, int64_t>;  // kind, stage, microbatch

  bool is_done(ActionKind kind, int64_t stage, int64_t microbatch) const {
    return done_.contains({kind, stage, microbatch});
  }

  const Schedule& lowered_;
  int64_t rank_;
  std::set<Key> done_, inputs_;  // F and I (or B) run here; inputs that came from another rank
  std::set<int64_t> unsharded_, reduced_;
  std::map<int64_t, int64_t> num_backwards_;
};

bool is_message(ActionKind kind) {
  return kind == kSendForward || kind == kRecvForward || kind == kSendBackward || kind == kRecvBackward;
}

// The action on the other rank that a message meets.
Action counterpart(const Action& message) {
  switch (message.kind) {
    case kSendForward:
      return {message.stage + 1, kRecvForward, message.microbatch, {}};
    case kRecvForward:
      return {message.stage - 1, kSendForward, message.microbatch, {}};
    case kSendBackward:
      return {message.stage - 1, kRecvBackward, message.microbatch, {}};
    default:
      return {message.stage + 1, kSendBackward, message.microbatch, {}};
  }
}

// Lets both ends of a message wait for each other: who gets through that gets through anything.
std::optional<Fault> find_stuck_message(const Schedule& lowered) {
  std::vector<size_t> next(lowered.ranks.size());
  const auto action_at = [&](size_t rank) -> const Action* {
    const std::vector<Action>& actions = lowered.ranks[rank];
    while (next[rank] < actions.size() && !is_message(actions[next[rank]].kind)) ++next[rank];
    return next[rank] < actions.size() ? &actions[next[rank]] : nullptr;
  };
  bool progress = true;
  while (progress) {
    progress = false;
    for (size_t rank = 0; rank < next.size(); ++rank) {
      const Action* const action = action_at(rank);
      if (action == nullptr) continue;
      const Action other = counterpart(*action);
      if (other.stage < 0 || other.stage >= lowered.shape.num_stages) continue;
      const auto other_rank = static_cast<size_t>(lowered.rank_of_stage[other.stage]);
      const Action* const theirs = other_rank == rank ? nullptr : action_at(other_rank);
      if (theirs == nullptr || !(*theirs == other)) continue;
      ++next[rank];
      ++next[other_rank];
      progress = true;
    }
  }
  for (size_t rank = 0; rank < next.size(); ++rank) {
    const Action* const action = action_at(rank);
    if (action == nullptr) continue;
    return Fault{static_cast<int64_t>(rank), static_cast<int64_t>(next[rank]),
                 fmt::format("waits for ever for {}", to_string(counterpart(*action)))};
  }
  return {};
}

}  // namespace

std::optional<Fault> find_lowering_fault(const Schedule& lowered) {
  for (size_t rank = 0; rank < lowered.ranks.size(); ++rank) {
    if (std::optional<Fault> fault = RankCheck(lowered, static_cast<int64_t>(rank)).run()) return fault;
  }
  return find_stuck_message(lowered);
}

}  // namespace titan::pipeline
