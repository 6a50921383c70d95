#include "titan/distributed/world.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "tests/support/backends.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/distributed/collectives.h"
#include "titan/distributed/device_mesh.h"

namespace titan::distributed {
namespace {

using std::chrono::milliseconds;

at::Tensor sum_of_ranks(World& world, ProcessGroup& group) {
  return all_reduce(at::full({1}, world.rank(), at::kLong), ReduceOp::kSum, group).wait();
}

// The cases are of one number of ranks; each test knows how many it needs.
class WorldOnBackend : public testing::TestWithParam<test::BackendCase> {};

TEST_P(WorldOnBackend, MakesOneGroupPerSetOfRanks) {
  test::run_ranks(3, GetParam().backend, [](const auto& world) {
    const auto all = world->group();
    EXPECT_EQ(world->group({2, 0, 1}), all);
    EXPECT_EQ(all->rank(), world->rank());
    if (world->rank() != 1) {
      const auto pair = world->group({2, 0});
      EXPECT_EQ(pair->ranks(), (std::vector<int64_t>{0, 2}));
      EXPECT_EQ(pair->rank(), world->rank() / 2);
      EXPECT_EQ(sum_of_ranks(*world, *pair).template item<int64_t>(), 2);
    }
  });
}

TEST_P(WorldOnBackend, RefusesGroupsThatAreNone) {
  test::run_ranks(2, GetParam().backend, [](const auto& world) {
    EXPECT_THROW(world->group(std::vector<int64_t>{}), c10::ValueError);
    EXPECT_THROW(world->group({0, 2}), c10::ValueError);
    EXPECT_THROW(world->group({0, 0, 1}), c10::ValueError);
    EXPECT_THROW(world->group({1 - world->rank()}), c10::ValueError);
  });
}

TEST(World, OfOneNeedsNobody) {
  RankInfo info;
  info.master_addr = "no.such.host.invalid";
  World world(info, {});
  EXPECT_EQ(world.size(), 1);
  EXPECT_EQ(sum_of_ranks(world, *world.group()).item<int64_t>(), 0);
}

TEST(World, MakesWritingToTheDeadAnError) {
  struct sigaction before {};
  struct sigaction deadly {};
  deadly.sa_handler = SIG_DFL;
  ASSERT_EQ(sigaction(SIGPIPE, &deadly, &before), 0);
  test::run_ranks(2, "gloo", [](const auto& world) { sum_of_ranks(*world, *world->group()); });
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  close(ends[0]);
  EXPECT_EQ(write(ends[1], "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  close(ends[1]);
  sigaction(SIGPIPE, &before, nullptr);
}

TEST_P(WorldOnBackend, SumsOverEveryAxisOfAMesh) {
  test::run_ranks(8, GetParam().backend, [](const std::shared_ptr<World>& world) {
    const DeviceMesh mesh = DeviceMesh(world, {{"pp", 2}, {"dp", 2}, {"tp", 2}})
                                .with_view("outer", {"pp", "tp"})
                                .with_view("all", {"pp", "dp", "tp"});
    for (const char* const axis : {"pp", "dp", "tp", "outer", "all"}) {
      int64_t expected = 0;
      for (const int64_t rank : mesh.ranks(axis)) expected += rank;
      const auto group = mesh.group(axis);
      EXPECT_EQ(sum_of_ranks(*world, *group).item<int64_t>(), expected) << axis;
      EXPECT_EQ(group->rank(), mesh.coordinate(axis)) << axis;
      EXPECT_EQ(group, mesh.slice(axis).group()) << axis;
    }
    EXPECT_EQ(mesh.group("all"), world->group());
  });
}

// Rank 1 goes on elsewhere. The first operations have the long timeout, the one in question the short.
TEST_P(WorldOnBackend, TimeoutOfAnOperationNamesItAndWhoWaited) {
  std::atomic<bool> over = false;
  test::run_ranks(2, GetParam().backend, [&](const auto& world) {
    const auto group = world->group();
    sum_of_ranks(*world, *group);
    barrier(*group);
    world->set_timeout(milliseconds(300));
    EXPECT_EQ(group->timeout(), milliseconds(300));
    if (world->rank() == 1) {
      over.wait(false);
      return;
    }
    const auto begin = std::chrono::steady_clock::now();
    try {
      all_reduce(at::ones({2, 3}), ReduceOp::kSum, *group).wait();
      ADD_FAILURE() << "the operation ended";
    } catch (const c10::Error& error) {
      const std::string message = error.what_without_backtrace();
      EXPECT_EQ(message.find("all_reduce of Float [2, 3] (operation 2 of ranks 0, 1): all ranks are there; rank 1 did "
                             "not take part; rank 0 waited for 0."),
                0U)
          << message;
      EXPECT_EQ(message.find('\n'), std::string::npos);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
    over = true;
    over.notify_all();
  });
}

INSTANTIATE_TEST_SUITE_P(Backends, WorldOnBackend, testing::ValuesIn(test::on_every_backend({8})), test::case_name);

}  // namespace
}  // namespace titan::distributed
