#include "titan/distributed/parallel_dims.h"

#include <c10/util/Exception.h>

#include <algorithm>

#include "titan/config/check.h"

namespace titan::distributed {

ParallelDims ParallelDims::from(const config::JobConfig& job, int64_t world_size) {
  const config::Parallelism& p = job.parallelism;
  ParallelDims dims;
  dims.pp = p.pipeline_parallel_degree;
  dims.dp_replicate = p.data_parallel_replicate_degree;
  dims.cp = p.context_parallel_degree;
  dims.tp = p.tensor_parallel_degree;
  TORCH_CHECK_VALUE(std::min({dims.pp, dims.dp_replicate, dims.cp, dims.tp}) >= 1, "parallelism: the degrees (pp ",
                    dims.pp, ", dp_replicate ", dims.dp_replicate, ", cp ", dims.cp, ", tp ", dims.tp,
                    ") must be at least 1");
  dims.dp_shard = config::data_parallel_degree(job, world_size) / dims.dp_replicate;
  TORCH_CHECK_VALUE(dims.world_size() == world_size, "parallelism: the degrees (pp ", dims.pp, " x dp_replicate ",
                    dims.dp_replicate, " x dp_shard ", dims.dp_shard, " x cp ", dims.cp, " x tp ", dims.tp,
                    ") must multiply to the world size, got ", dims.world_size(), " on ", world_size, " ranks");
  return dims;
}

DeviceMesh ParallelDims::build_mesh(std::shared_ptr<World> world) const {
  return DeviceMesh(std::move(world),
                    {{"pp", pp}, {"dp_replicate", dp_replicate}, {"dp_shard", dp_shard}, {"cp", cp}, {"tp", tp}})
      .with_view("batch", {"dp_replicate", "dp_shard"})
      .with_view("loss", {"dp_replicate", "dp_shard", "cp"})
      .with_view("fsdp", {"dp_shard", "cp"});
}

}  // namespace titan::distributed
