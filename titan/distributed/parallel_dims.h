// How many ranks each kind of parallelism gets, under the names of mesh axes. What is valid, and what a dp_shard of
// -1 means, is config/check.h's to say; nothing else computes with degrees.
#pragma once

#include <cstdint>
#include <memory>

#include "titan/config/job_config.h"
#include "titan/distributed/device_mesh.h"

namespace titan::distributed {

struct ParallelDims {
  int64_t pp = 1, dp_replicate = 1, dp_shard = 1, cp = 1, tp = 1;

  // Throws c10::ValueError if the degrees do not fit the world size.
  static ParallelDims from(const config::JobConfig& job, int64_t world_size);

  int64_t world_size() const { return pp * dp_replicate * dp_shard * cp * tp; }
  // Ranks that read different samples.
  int64_t batch() const { return dp_replicate * dp_shard; }
  // Ranks that see different tokens.
  int64_t loss() const { return batch() * cp; }

  // Axes pp, dp_replicate, dp_shard, cp, tp, outermost first, and the views batch (dp_replicate x dp_shard), loss
  // (those x cp), fsdp (dp_shard x cp: all that need not have a copy of the weights each). Throws c10::ValueError if
  // the world has another size.
  DeviceMesh build_mesh(std::shared_ptr<World> world) const;
};

}  // namespace titan::distributed
