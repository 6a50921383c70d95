// What staging adds to the backend below it; that results are the same, the suites of collectives and messages show.
#include "titan/distributed/staged_backend.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <thread>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/distributed/collectives.h"

namespace titan::distributed {
namespace {

TEST(StagedBackend, SaysWhatItStandsOn) {
  test::run_ranks(2, "staged", [](const auto& world) {
    EXPECT_EQ(world->group()->backend(at::kCPU)->getBackendName(), "staged over shm");
  });
}

TEST(StagedBackend, ReturnsBeforeTheOthersTakePart) {
  test::run_ranks(2, "staged", [](const auto& world) {
    const auto group = world->group();
    barrier(*group);
    if (world->rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const auto begin = std::chrono::steady_clock::now();
    Pending sum = all_reduce(at::ones({1000}), ReduceOp::kSum, *group);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(200));
    EXPECT_TRUE(at::equal(sum.wait(), at::full({1000}, 2.0)));
  });
}

TEST(StagedBackend, SendsWhatATensorHeldAtTheCall) {
  test::run_ranks(2, "staged", [](const auto& world) {
    const auto group = world->group();
    c10d::Backend& backend = *group->backend(at::kCPU);
    at::Tensor own = at::full({4}, static_cast<double>(world->rank())), all = at::zeros({8});
    const auto work = backend._allgather_base(all, own, {});
    own.fill_(9);
    work->wait();
    EXPECT_TRUE(work->isCompleted());
    EXPECT_TRUE(work->isSuccess());
    EXPECT_EQ(all.sum().item<double>(), 4);
  });
}

TEST(StagedBackend, TellsWhatFailedOnTheHost) {
  test::run_ranks(2, "staged", [](const auto& world) {
    const auto group = world->group();
    barrier(*group);
    group->set_timeout(std::chrono::milliseconds(300));
    if (world->rank() == 1) return std::this_thread::sleep_for(std::chrono::seconds(1));
    EXPECT_THROW(all_reduce(at::ones({3}), ReduceOp::kSum, *group).wait(), c10::Error);
  });
}

}  // namespace
}  // namespace titan::distributed
