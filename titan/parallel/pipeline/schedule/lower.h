// Turns a schedule of compute actions into all that a rank does: messages between ranks, gathering and freeing of
// FSDP's parameters, reduction of gradients. Action for action as PyTorch's _PipelineScheduleRuntime does it, but for
// the order in which two stages are freed at once: ascending here.
#pragma once

#include <cstdint>

#include "titan/parallel/pipeline/schedule/schedule.h"

namespace titan::pipeline {

struct LoweringOptions {
  // So many stages are unsharded at most: one computes forward, one backward, one is being gathered. An OVERLAP_F_B
  // that comes last of them may add one.
  int64_t max_active_stages = 3;
};

// `schedule` is valid (find_fault() finds nothing).
// - UNSHARD before a stage computes, early enough to overlap; RESHARD when others need the room, and at the end.
// - REDUCE_GRAD of a stage behind its last backward.
// - SEND behind what makes it, and its RECV at the same moment in the other rank's list: so the messages of all ranks
//   have one common order, in which they can be posted without deadlock even if each SEND waits for its RECV. None
//   between stages on one rank.
Schedule lower(const Schedule& schedule, const LoweringOptions& options = {});

}  // namespace titan::pipeline
