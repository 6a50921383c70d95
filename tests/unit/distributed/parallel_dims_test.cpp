#include "titan/distributed/parallel_dims.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

namespace titan::distributed {
namespace {

config::JobConfig job(int64_t pp, int64_t dp_replicate, int64_t dp_shard, int64_t cp, int64_t tp) {
  config::JobConfig job;
  job.parallelism.pipeline_parallel_degree = pp;
  job.parallelism.data_parallel_replicate_degree = dp_replicate;
  job.parallelism.data_parallel_shard_degree = dp_shard;
  job.parallelism.context_parallel_degree = cp;
  job.parallelism.tensor_parallel_degree = tp;
  return job;
}

TEST(ParallelDims, GivesDpShardWhatIsLeft) {
  const ParallelDims dims = ParallelDims::from(job(2, 3, -1, 1, 4), 120);
  EXPECT_EQ(dims.dp_shard, 5);
  EXPECT_EQ(dims.batch(), 15);
  EXPECT_EQ(dims.world_size(), 120);
  EXPECT_EQ(ParallelDims::from(job(2, 3, -1, 1, 4), 24).dp_shard, 1);
}

TEST(ParallelDims, RefusesDegreesThatDoNotFit) {
  EXPECT_THROW(ParallelDims::from(job(2, 1, -1, 1, 2), 6), c10::ValueError);
  EXPECT_THROW(ParallelDims::from(job(2, 1, 1, 1, 2), 8), c10::ValueError);
  EXPECT_THROW(ParallelDims::from(job(1, 1, 1, 1, 1), 2), c10::ValueError);
  EXPECT_THROW(ParallelDims::from(job(1, 0, -1, 1, 1), 2), c10::ValueError);
}

TEST(ParallelDims, BuildsTheMeshInTheOrderOfTheAxes) {
  const ParallelDims dims = ParallelDims::from(job(2, 2, 3, 2, 2), 48);
  RankInfo info;
  info.rank = 29;  // pp 1, dp_replicate 0, dp_shard 1, cp 0, tp 1
  info.world_size = 48;
  WorldOptions options;
  options.backend = "fake";
  const DeviceMesh mesh = dims.build_mesh(std::make_shared<World>(info, options));
  EXPECT_EQ(mesh.coordinate("pp"), 1);
  EXPECT_EQ(mesh.coordinate("dp_replicate"), 0);
  EXPECT_EQ(mesh.coordinate("dp_shard"), 1);
  EXPECT_EQ(mesh.coordinate("cp"), 0);
  EXPECT_EQ(mesh.coordinate("tp"), 1);
  EXPECT_EQ(mesh.size("batch"), 6);
  EXPECT_EQ(mesh.coordinate("batch"), 1);
  EXPECT_EQ(mesh.size("loss"), 12);
  EXPECT_EQ(mesh.coordinate("loss"), 2);
  EXPECT_EQ(mesh.size("fsdp"), 6);
  EXPECT_EQ(mesh.ranks("fsdp"), (std::vector<int64_t>{25, 27, 29, 31, 33, 35}));
  EXPECT_EQ(mesh.ranks("batch"), (std::vector<int64_t>{25, 29, 33, 37, 41, 45}));
}

}  // namespace
}  // namespace titan::distributed
