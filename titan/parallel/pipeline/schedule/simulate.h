// Plays a schedule against a clock, without ranks and without tensors: when each action starts, what share of the time
// ranks idle, how many activations they keep. Ranks compute one action at a time, as early as its inputs are there; a
// message between ranks takes a fixed time and occupies nobody. So it models no contention, no FSDP, and no gain from
// OVERLAP_F_B: that takes as long as its F and its B, and hands both results on at its end.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "titan/parallel/pipeline/schedule/fault.h"
#include "titan/parallel/pipeline/schedule/schedule.h"

namespace titan::pipeline {

// In any unit of time. B takes input + weight.
struct ActionCosts {
  double forward = 1;
  double input = 1;
  double weight = 1;
  double comm = 0;  // a message from one rank to another

  double of(const Action& action) const;
};

struct TimelineSlot {
  Action action;
  double start, end;
};

struct RankTimeline {
  std::vector<TimelineSlot> slots;
  double busy = 0;
  // Forwards of (stage, microbatch) whose backward, B or W, is not yet done: the most at any time.
  int64_t peak_activations = 0;

  // Idle time between the rank's first action and its last: the "bubble" of Qi et al., arXiv 2401.10241, section 2.3.
  double bubble() const;
};

struct Timeline {
  double total = 0;  // from the first start to the last end
  std::vector<RankTimeline> ranks;
  // Set if ranks wait for each other for ever; the timeline then ends there.
  std::optional<Fault> deadlock;

  // Share of ranks x total in which nothing is computed, filling and draining included.
  double idle_share() const;
};

// `schedule` has compute actions only.
Timeline simulate(const Schedule& schedule, const ActionCosts& costs = {});
// The same with costs for each stage, measured ones for example; `comm` is the first one's. [num_stages]
Timeline simulate(const Schedule& schedule, const std::vector<ActionCosts>& by_stage);

}  // namespace titan::pipeline
