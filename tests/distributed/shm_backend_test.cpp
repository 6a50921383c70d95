// What c10d may ask of the shm backend beyond what collectives.h does: lists of tensors, gathers, reductions to one
// rank, coalesced forms, futures.
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"

namespace titan::distributed {
namespace {

using Tensors = std::vector<at::Tensor>;
constexpr int64_t kNumRanks = 3;

// Large enough for several rounds, of whole numbers, other ones on each rank.
at::Tensor numbers(int64_t rank, int64_t numel = 40'001) { return at::arange(numel, at::kFloat).add(rank); }
at::Tensor sum(int64_t numel = 40'001) { return numbers(0, numel) + numbers(1, numel) + numbers(2, numel); }

Tensors zeros(int64_t count) {
  Tensors tensors;
  for (int64_t i = 0; i < count; ++i) tensors.push_back(at::zeros({40'001}));
  return tensors;
}

void run(const std::function<void(c10d::Backend& backend, int64_t rank)>& body) {
  test::run_ranks(kNumRanks, "shm",
                  [&](const auto& world) { body(*world->group()->backend(at::kCPU), world->rank()); });
}

TEST(ShmBackend, ReducesToOneRank) {
  run([](c10d::Backend& backend, int64_t rank) {
    Tensors x{numbers(rank)};
    c10d::ReduceOptions options;
    options.rootRank = 1;
    backend.reduce(x, options)->wait();
    EXPECT_TRUE(at::equal(x.front(), rank == 1 ? sum() : numbers(rank)));
  });
}

TEST(ShmBackend, GathersOnOneRankAndScattersFromIt) {
  run([](c10d::Backend& backend, int64_t rank) {
    c10d::GatherOptions to;
    to.rootRank = 2;
    c10d::ScatterOptions from;
    from.rootRank = 2;
    std::vector<Tensors> all;
    if (rank == 2) all.push_back(zeros(kNumRanks));
    Tensors x{numbers(rank)}, y = zeros(1);
    backend.gather(all, x, to)->wait();
    if (rank == 2) {
      EXPECT_TRUE(at::equal(at::cat(all[0]), at::cat({numbers(0), numbers(1), numbers(2)})));
    }
    backend.scatter(y, all, from)->wait();
    EXPECT_TRUE(at::equal(y.front(), x.front()));
  });
}

TEST(ShmBackend, TakesListsOfTensors) {
  run([](c10d::Backend& backend, int64_t rank) {
    std::vector<Tensors> gathered{zeros(kNumRanks)};
    Tensors x{numbers(rank)};
    backend.allgather(gathered, x, {})->wait();
    for (int64_t other = 0; other < kNumRanks; ++other) {
      EXPECT_TRUE(at::equal(gathered[0][static_cast<size_t>(other)], numbers(other)));
    }
    Tensors part = zeros(1);
    std::vector<Tensors> parts{{numbers(rank), numbers(rank + 10), numbers(rank + 20)}};
    backend.reduce_scatter(part, parts, {})->wait();
    EXPECT_TRUE(at::equal(part.front(), sum() + 30 * rank));

    Tensors sent, received = zeros(kNumRanks);
    for (int64_t other = 0; other < kNumRanks; ++other) sent.push_back(numbers(10 * rank + other));
    backend.alltoall(received, sent, {})->wait();
    for (int64_t other = 0; other < kNumRanks; ++other) {
      EXPECT_TRUE(at::equal(received[static_cast<size_t>(other)], numbers(10 * other + rank)));
    }
  });
}

TEST(ShmBackend, SplitsEvenlyWithoutSplits) {
  run([](c10d::Backend& backend, int64_t rank) {
    at::Tensor x = numbers(rank, 9).view({9, 1}), y = at::zeros({9, 1});
    std::vector<int64_t> none;
    backend.alltoall_base(y, x, none, none, {})->wait();
    const int64_t begin = 3 * rank;
    EXPECT_TRUE(at::equal(y.flatten(), at::cat({numbers(0, 9).narrow(0, begin, 3), numbers(1, 9).narrow(0, begin, 3),
                                                numbers(2, 9).narrow(0, begin, 3)})));
  });
}

TEST(ShmBackend, CoalescesAsFunctionalCollectivesAskFor) {
  run([](c10d::Backend& backend, int64_t rank) {
    Tensors summed{numbers(rank), numbers(rank, 5)};
    backend.allreduce_coalesced(summed, {})->wait();
    EXPECT_TRUE(at::equal(summed[0], sum()));
    EXPECT_TRUE(at::equal(summed[1], sum(5)));

    Tensors inputs{numbers(rank, 2), numbers(rank, 30)}, outputs{at::zeros({6}), at::zeros({90})};
    backend.allgather_into_tensor_coalesced(outputs, inputs, {})->wait();
    EXPECT_TRUE(at::equal(outputs[1], at::cat({numbers(0, 30), numbers(1, 30), numbers(2, 30)})));
    std::vector<Tensors> of_ranks{{at::zeros({2})}, {at::zeros({2})}, {at::zeros({2})}};
    Tensors first{inputs[0]};
    backend.allgather_coalesced(of_ranks, first, {})->wait();
    for (int64_t other = 0; other < kNumRanks; ++other) {
      EXPECT_TRUE(at::equal(of_ranks[static_cast<size_t>(other)][0], numbers(other, 2)));
    }

    Tensors wholes{numbers(rank, 6), numbers(rank, 90)}, parts{at::zeros({2}), at::zeros({30})};
    backend.reduce_scatter_tensor_coalesced(parts, wholes, {})->wait();
    EXPECT_TRUE(at::equal(parts[1], sum(90).narrow(0, 30 * rank, 30)));
  });
}

TEST(ShmBackend, BarrierOfItsOwnWaitsForAll) {
  std::atomic<int64_t> num_there = 0;
  run([&](c10d::Backend& backend, int64_t /*rank*/) {
    ++num_there;
    backend.barrier({})->wait();
    EXPECT_EQ(num_there, kNumRanks);
  });
}

TEST(ShmBackend, CompletesFuturesByItself) {
  run([](c10d::Backend& backend, int64_t rank) {
    Tensors x{numbers(rank)};
    const auto work = backend.allreduce(x, {});
    const auto future = work->getFuture();
    future->waitAndThrow();
    EXPECT_TRUE(work->isCompleted());
    EXPECT_TRUE(work->isSuccess());
    EXPECT_EQ(work->exception(), nullptr);
    EXPECT_TRUE(at::equal(future->value().toTensorVector().front(), sum()));
  });
}

TEST(ShmBackend, FailsFuturesToo) {
  run([](c10d::Backend& backend, int64_t rank) {
    if (rank != 0) return;
    backend.setTimeout(std::chrono::milliseconds(100));
    Tensors x{at::ones({3})};
    const auto work = backend.recv(x, 1, 0);
    const auto future = work->getFuture();
    future->wait();
    EXPECT_TRUE(future->hasError());
    EXPECT_TRUE(work->isCompleted());
    EXPECT_FALSE(work->isSuccess());
    EXPECT_NE(work->exception(), nullptr);
  });
}

TEST(ShmBackend, WaitsNoLongerThanItsCallerAsks) {
  run([](c10d::Backend& backend, int64_t rank) {
    if (rank != 0) return;
    Tensors x{at::ones({3})};
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_THROW(backend.recv(x, 1, 0)->wait(std::chrono::milliseconds(50)), c10::Error);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  });
}

TEST(ShmBackend, RefusesWhatItCannotTake) {
  run([](c10d::Backend& backend, int64_t /*rank*/) {
    Tensors strided{at::zeros({2, 3}).t()}, two{at::zeros({1}), at::zeros({1})}, bools{at::zeros({1}, at::kBool)};
    EXPECT_THROW(backend.allreduce(strided, {}), c10::ValueError);
    EXPECT_THROW(backend.allreduce(two, {}), c10::ValueError);
    EXPECT_THROW(backend.allreduce(bools, {}), c10::ValueError);
    Tensors one{at::zeros({1})};
    c10d::AllreduceOptions product;
    product.reduceOp = c10d::ReduceOp::PRODUCT;
    EXPECT_THROW(backend.allreduce(one, product), c10::ValueError);
    at::Tensor output = at::zeros({4}), input = at::zeros({2});
    EXPECT_THROW(backend._allgather_base(output, input, {}), c10::ValueError);
    EXPECT_THROW(backend._reduce_scatter_base(output, input, {}), c10::ValueError);
  });
}

}  // namespace
}  // namespace titan::distributed
