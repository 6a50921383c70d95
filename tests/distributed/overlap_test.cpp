// Operations run while the caller goes on: shown on a backend that makes each of them take longer.
#include <gtest/gtest.h>

#include "tests/support/backends.h"
#include "tests/support/delayed_backend.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/distributed/collectives.h"

namespace titan::distributed {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

class Overlap : public testing::TestWithParam<test::BackendCase> {};

// Ten operations of 300 ms: 3 s one after another, little more than 300 ms together, on however slow a machine.
TEST_P(Overlap, OperationsRunAtTheSameTime) {
  constexpr milliseconds kDelay{300};
  constexpr int kNumOperations = 10;
  test::RanksOptions options;
  options.make_backend = test::delayed(backend_factory(GetParam().backend), kDelay);
  test::run_ranks(
      GetParam().num_ranks, GetParam().backend,
      [&](const auto& world) {
        const auto group = world->group();
        barrier(*group);
        const auto begin = Clock::now();
        std::vector<Pending> pending;
        pending.reserve(kNumOperations);
        for (int i = 0; i < kNumOperations; ++i) pending.push_back(all_reduce(at::ones({100}), ReduceOp::kSum, *group));
        EXPECT_FALSE(pending.front().completed() && Clock::now() - begin < kDelay);
        for (Pending& operation : pending) EXPECT_TRUE(at::equal(operation.wait(), at::full({100}, 2.0)));
        EXPECT_GE(Clock::now() - begin, kDelay);
        EXPECT_LT(Clock::now() - begin, kDelay * kNumOperations / 2);
      },
      options);
}

INSTANTIATE_TEST_SUITE_P(Backends, Overlap, testing::ValuesIn(test::on_every_backend({2})), test::case_name);

}  // namespace
}  // namespace titan::distributed
