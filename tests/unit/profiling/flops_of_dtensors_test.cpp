#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "tests/support/run_ranks.h"
#include "titan/distributed/device_mesh.h"
#include "titan/dtensor/dtensor.h"
#include "titan/profiling/flop_counter.h"

namespace titan::profiling {
namespace {

// Not one product of the whole size on every rank: the local ones. 5 rows over 2 ranks: 3 and 2.
TEST(FlopCounter, ADTensorCountsWhatTheRanksDo) {
  const at::Tensor x = at::randn({5, 7}), w = at::randn({7, 3});
  const FlopCounter counter;
  test::run_ranks(2, "shm", [&](const std::shared_ptr<distributed::World>& world) {
    const dtensor::Mesh mesh = distributed::DeviceMesh(world, {{"a", 2}});
    const at::Tensor rows = dtensor::distribute_tensor(x, mesh, {dtensor::shard(0)});
    const at::Tensor whole = dtensor::distribute_tensor(w, mesh, {dtensor::replicate()});
    at::mm(rows, whole);
  });
  EXPECT_EQ(counter.count().matmul, 2 * 5 * 7 * 3);
}

}  // namespace
}  // namespace titan::profiling
