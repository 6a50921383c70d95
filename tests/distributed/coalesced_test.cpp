#include <ATen/ops/cat.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "tests/support/backends.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/distributed/collectives.h"

namespace titan::distributed {
namespace {

using Tensors = std::vector<at::Tensor>;

// Dtypes interleaved; odd, empty and strided ones among them. Whole numbers, so sums are exact.
Tensors mixed(int64_t rank, int64_t num_ranks) {
  const auto whole = [&](at::IntArrayRef sizes, at::ScalarType dtype) {
    return at::full(sizes, static_cast<double>(rank + 1)).cumsum(0).to(dtype);
  };
  return {whole({num_ranks, 3}, at::kFloat),
          whole({2 * num_ranks}, at::kLong),
          whole({3 * num_ranks, 2}, at::kFloat).t().contiguous().t(),
          whole({0, 4}, at::kFloat),
          whole({num_ranks}, at::kBFloat16),
          whole({num_ranks, 1, 5}, at::kShort),
          whole({2 * num_ranks}, at::kLong)};
}

class Coalesced : public testing::TestWithParam<test::BackendCase> {
 protected:
  void run(const std::function<void(int64_t rank, ProcessGroup& group)>& body) const {
    test::run_ranks(GetParam().num_ranks, GetParam().backend,
                    [&](const auto& world) { body(world->rank(), *world->group()); });
  }
};

TEST_P(Coalesced, AllReduceEqualsOneByOne) {
  run([](int64_t rank, ProcessGroup& group) {
    const Tensors tensors = mixed(rank, group.size());
    Tensors expected;
    for (const at::Tensor& x : tensors) expected.push_back(all_reduce(x.clone(), ReduceOp::kSum, group).wait());
    const Tensors results = all_reduce_coalesced_(tensors, ReduceOp::kSum, group).wait();
    ASSERT_EQ(results.size(), expected.size());
    for (size_t i = 0; i < results.size(); ++i) {
      EXPECT_TRUE(at::equal(results[i], expected[i])) << i;
      EXPECT_TRUE(results[i].is_same(tensors[i])) << i;
    }
  });
}

TEST_P(Coalesced, AllGatherEqualsOneByOne) {
  run([](int64_t rank, ProcessGroup& group) {
    const Tensors tensors = mixed(rank, group.size());
    const Tensors results = all_gather_coalesced(tensors, group).wait();
    ASSERT_EQ(results.size(), tensors.size());
    for (size_t i = 0; i < results.size(); ++i)
      EXPECT_TRUE(at::equal(results[i], all_gather(tensors[i], group).wait())) << i;
  });
}

TEST_P(Coalesced, ReduceScatterEqualsOneByOne) {
  run([](int64_t rank, ProcessGroup& group) {
    const Tensors tensors = mixed(rank, group.size());
    const Tensors results = reduce_scatter_coalesced(tensors, ReduceOp::kSum, group).wait();
    ASSERT_EQ(results.size(), tensors.size());
    for (size_t i = 0; i < results.size(); ++i) {
      EXPECT_TRUE(at::equal(results[i], reduce_scatter(tensors[i], ReduceOp::kSum, group).wait())) << i;
    }
  });
}

TEST_P(Coalesced, BroadcastSendsTheSourcesTensors) {
  run([](int64_t rank, ProcessGroup& group) {
    const Tensors tensors = mixed(rank, group.size()), expected = mixed(group.size() - 1, group.size());
    broadcast_coalesced_(tensors, group.size() - 1, group).wait();
    for (size_t i = 0; i < tensors.size(); ++i) EXPECT_TRUE(at::equal(tensors[i], expected[i])) << i;
  });
}

TEST_P(Coalesced, NothingIsFine) {
  run([](int64_t /*rank*/, ProcessGroup& group) {
    EXPECT_TRUE(all_reduce_coalesced_({}, ReduceOp::kSum, group).wait().empty());
    EXPECT_TRUE(all_gather_coalesced({}, group).wait().empty());
    EXPECT_EQ(reduce_scatter_coalesced({at::ones({0, 2})}, ReduceOp::kSum, group).wait().front().size(0), 0);
    EXPECT_EQ(broadcast_coalesced_({at::ones({0, 2})}, 0, group).wait().size(), 1U);
  });
}

INSTANTIATE_TEST_SUITE_P(Backends, Coalesced, testing::ValuesIn(test::on_every_backend_and_staged({1, 2, 3})),
                         test::case_name);

}  // namespace
}  // namespace titan::distributed
