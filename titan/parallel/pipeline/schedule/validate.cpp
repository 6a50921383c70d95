#include "titan/parallel/pipeline/schedule/validate.h"

#include <fmt/format.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "titan/parallel/pipeline/schedule/simulate.h"

namespace titan::pipeline {
namespace {

// What has been done for one stage and microbatch, and at which of its rank's actions.
struct Progress {
  static constexpr int64_t kNotYet = -1;
  int64_t forward = kNotYet, input = kNotYet, weight = kNotYet, full = kNotYet;
};

class OrderCheck {
 public:
  explicit OrderCheck(const Schedule& schedule)
      : schedule_(schedule), progress_(schedule.shape.num_stages * schedule.shape.num_microbatches) {}

  std::optional<Fault> run() {
    for (size_t rank = 0; rank < schedule_.ranks.size(); ++rank) {
      const std::vector<Action>& actions = schedule_.ranks[rank];
      for (size_t i = 0; i < actions.size(); ++i) {
        std::string message = take_action(actions[i], static_cast<int64_t>(rank), static_cast<int64_t>(i));
        if (!message.empty()) return Fault{static_cast<int64_t>(rank), static_cast<int64_t>(i), std::move(message)};
      }
    }
    return find_missing();
  }

 private:
  Progress& of(int64_t stage, int64_t microbatch) {
    return progress_.at(stage * schedule_.shape.num_microbatches + microbatch);
  }

  // These return what is wrong, "" if nothing is.
  std::string take_action(const Action& action, int64_t rank, int64_t position) {
    if (!is_compute(action.kind)) return "only F, I, W, B and OVERLAP_F_B belong here; the rest is added by itself";
    for (const Action& part : parts_of(action)) {
      std::string message = take_part(part, rank, position);
      if (!message.empty()) return message;
    }
    return "";
  }

  std::string take_part(const Action& part, int64_t rank, int64_t position) {
    const auto [num_ranks, num_stages, num_microbatches] = schedule_.shape;
    if (part.stage < 0 || part.stage >= num_stages) return fmt::format("there are {} stages, from 0", num_stages);
    if (part.microbatch < 0 || part.microbatch >= num_microbatches) {
      return fmt::format("there are {} microbatches, from 0", num_microbatches);
    }
    const int64_t owner = schedule_.rank_of_stage.at(part.stage);
    if (owner != rank) return fmt::format("stage {} is on rank {}; a stage has one rank", part.stage, owner);

    Progress& done = of(part.stage, part.microbatch);
    const auto once = [&](int64_t& slot) {
      if (slot != Progress::kNotYet) return fmt::format("comes twice, at action {} before", slot + 1);
      slot = position;
      return std::string();
    };
    // In an OVERLAP_F_B both parts start together: what the backward needs is of an action before.
    const bool has_forward = done.forward != Progress::kNotYet && done.forward < position;
    const bool has_input = done.input != Progress::kNotYet;
    switch (part.kind) {
      case ActionKind::kForward:
        return once(done.forward);
      case ActionKind::kBackwardInput:
        if (!has_forward) return fmt::format("needs {} before it", to_string(F(part.stage, part.microbatch)));
        if (done.full != Progress::kNotYet) return "its B is there too; a backward is one B, or one I and one W";
        return once(done.input);
      case ActionKind::kBackwardWeight:
        if (!has_input) return fmt::format("needs {} before it", to_string(I(part.stage, part.microbatch)));
        return once(done.weight);
      default:
        if (!has_forward) return fmt::format("needs {} before it", to_string(F(part.stage, part.microbatch)));
        if (has_input) return "its I is there too; a backward is one B, or one I and one W";
        return once(done.full);
    }
  }

  std::optional<Fault> find_missing() {
    for (int64_t stage = 0; stage < schedule_.shape.num_stages; ++stage) {
      for (int64_t microbatch = 0; microbatch < schedule_.shape.num_microbatches; ++microbatch) {
        const Progress& done = of(stage, microbatch);
        std::string missing;
        if (done.forward == Progress::kNotYet) {
          missing = to_string(F(stage, microbatch));
        } else if (done.input != Progress::kNotYet && done.weight == Progress::kNotYet) {
          missing = to_string(W(stage, microbatch));
        } else if (done.input == Progress::kNotYet && done.full == Progress::kNotYet) {
          missing = to_string(B(stage, microbatch));
        }
        if (!missing.empty()) {
          return Fault{schedule_.rank_of_stage.at(stage), Fault::kWholeRank,
                       fmt::format("{} is missing: {} stages run {} microbatches", missing, schedule_.shape.num_stages,
                                   schedule_.shape.num_microbatches)};
        }
      }
    }
    return {};
  }

  const Schedule& schedule_;
  std::vector<Progress> progress_;  // [stage, microbatch]
};

}  // namespace

std::optional<Fault> find_fault(const Schedule& schedule) {
  if (std::optional<Fault> fault = OrderCheck(schedule).run()) return fault;
  return simulate(schedule).deadlock;
}

}  // namespace titan::pipeline
