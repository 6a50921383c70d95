// The collectives of one rank in a world that is not there.
#include "titan/distributed/fake_backend.h"

#include <ATen/ops/arange.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "tests/support/tensors.h"
#include "titan/distributed/collectives.h"
#include "titan/distributed/p2p.h"
#include "titan/distributed/world.h"

namespace titan::distributed {
namespace {

std::shared_ptr<World> fake_world(int64_t rank, int64_t size) {
  RankInfo info;
  info.rank = rank;
  info.world_size = size;
  WorldOptions options;
  options.backend = "fake";
  return std::make_shared<World>(info, options);
}

TEST(FakeBackend, GathersItsOwnPartFromEverybody) {
  const auto group = fake_world(70'001, 100'000)->group({5, 70'001, 99'999});
  const at::Tensor x = at::arange(6, at::kFloat).view({2, 3});
  EXPECT_TRUE(at::equal(all_gather(x, *group).wait(), x.repeat({3, 1})));
  EXPECT_TRUE(at::equal(all_gather(x, *group, 1).wait(), x.repeat({1, 3})));
}

TEST(FakeBackend, ScattersItsOwnPart) {
  const auto world = fake_world(2, 4);
  const at::Tensor x = at::arange(8, at::kFloat);
  EXPECT_TRUE(at::equal(reduce_scatter(x, ReduceOp::kSum, *world->group()).wait(), x.narrow(0, 4, 2)));
  EXPECT_TRUE(at::equal(all_reduce(x, ReduceOp::kSum, *world->group()).wait(), x));
}

TEST(FakeBackend, AnswersEveryOperation) {
  const auto world = fake_world(0, 2);
  const auto group = world->group();
  const at::Tensor x = at::arange(4, at::kLong);
  EXPECT_TRUE(at::equal(all_to_all(x, *group).wait(), x));
  EXPECT_EQ(all_to_all(x, {1, 5}, {1, 3}, *group).wait().size(0), 6);
  EXPECT_TRUE(at::equal(broadcast_(x.clone(), 1, *group).wait(), x));
  EXPECT_TRUE(at::equal(scatter_into(at::zeros({4}, at::kLong), {x, x + 1}, 0, *group).wait(), x));
  EXPECT_EQ(all_gather_coalesced({x, x.to(at::kFloat)}, *group).wait().size(), 2U);
  EXPECT_TRUE(at::equal(reduce_scatter_coalesced({x}, ReduceOp::kMax, *group).wait().front(), x.narrow(0, 0, 2)));
  EXPECT_TRUE(at::equal(exchange({send(x, 1), receive(at::ones({3}), 1)}, *group).wait().back(), at::zeros({3})));
  barrier(*group);
}

TEST(FakeBackend, IsOverAtOnce) {
  const auto world = fake_world(0, 2);
  EXPECT_TRUE(all_reduce(at::ones({3}), ReduceOp::kSum, *world->group()).completed());
}

TEST(BackendFactory, ListsTheBackendsThereAre) {
  try {
    backend_factory("mpi");
    FAIL();
  } catch (const c10::ValueError& error) {
    EXPECT_STREQ(error.what_without_backtrace(), "backend: expected one of auto, shm, gloo, fake, got 'mpi'");
  }
}

}  // namespace
}  // namespace titan::distributed
