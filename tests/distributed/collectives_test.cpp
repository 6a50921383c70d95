// Every collective on every backend, for groups of 1 to 4 ranks, against what one process computes.
#include "titan/distributed/collectives.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/complex.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "tests/support/backends.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"

namespace titan::distributed {
namespace {

using Tensors = std::vector<at::Tensor>;
using Shared = std::shared_ptr<World>;

// Small whole numbers, other ones on each rank: sums are exact in every dtype.
at::Tensor numbers(at::IntArrayRef sizes, int64_t rank, at::ScalarType dtype = at::kFloat) {
  const int64_t numel = c10::multiply_integers(sizes);
  return at::arange(numel, at::kLong).add(3 * rank).remainder(5 + rank).view(sizes).to(dtype);
}

Tensors of_all_ranks(at::IntArrayRef sizes, int64_t num_ranks, at::ScalarType dtype = at::kFloat) {
  Tensors all;
  for (int64_t rank = 0; rank < num_ranks; ++rank) all.push_back(numbers(sizes, rank, dtype));
  return all;
}

at::Tensor reduced(const Tensors& all, ReduceOp op) {
  const at::Tensor stack = at::stack(all);
  switch (op) {
    case ReduceOp::kSum:
      return stack.sum(0).to(stack.scalar_type());
    case ReduceOp::kAvg:
      return stack.mean(0);
    case ReduceOp::kMax:
      return stack.amax(0);
    case ReduceOp::kMin:
      return stack.amin(0);
  }
  return {};
}

class Collectives : public testing::TestWithParam<test::BackendCase> {
 protected:
  void run(const std::function<void(World&, ProcessGroup&)>& body) const {
    test::run_ranks(GetParam().num_ranks, GetParam().backend,
                    [&](const Shared& world) { body(*world, *world->group()); });
  }
  int64_t num_ranks() const { return GetParam().num_ranks; }
};

constexpr at::ScalarType kDtypes[] = {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong,
                                      at::kInt,   at::kShort,  at::kChar, at::kByte};

TEST_P(Collectives, AllReduceIsTheReductionInEveryDtype) {
  run([&](World& world, ProcessGroup& group) {
    for (const at::ScalarType dtype : kDtypes) {
      for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
        const at::Tensor result = all_reduce(numbers({3, 5}, world.rank(), dtype), op, group).wait();
        EXPECT_TRUE(at::equal(result, reduced(of_all_ranks({3, 5}, num_ranks(), dtype), op))) << dtype;
      }
    }
    const at::Tensor average = all_reduce(numbers({7}, world.rank()), ReduceOp::kAvg, group).wait();
    EXPECT_TRUE(at::allclose(average, reduced(of_all_ranks({7}, num_ranks()), ReduceOp::kAvg)));
  });
}

TEST_P(Collectives, AllReduceOfBoolsIsAnyOrAll) {
  run([&](World& world, ProcessGroup& group) {
    const at::Tensor mine = at::arange(4, at::kLong).eq(world.rank());
    const at::Tensor any = all_reduce(mine, ReduceOp::kMax, group).wait();
    const at::Tensor all = all_reduce(mine, ReduceOp::kMin, group).wait();
    EXPECT_EQ(any.scalar_type(), at::kBool);
    EXPECT_TRUE(at::equal(any, at::arange(4, at::kLong).lt(num_ranks())));
    EXPECT_EQ(all.any().item<bool>(), num_ranks() == 1);
    EXPECT_THROW(all_reduce(mine, ReduceOp::kSum, group), c10::ValueError);
  });
}

TEST_P(Collectives, AllReduceAddsComplexNumbers) {
  run([&](World& world, ProcessGroup& group) {
    const at::Tensor x = at::complex(numbers({5}, world.rank()), numbers({5}, world.rank() + 1));
    const at::Tensor sum = all_reduce(x, ReduceOp::kSum, group).wait();
    at::Tensor expected = at::zeros_like(x);
    for (int64_t rank = 0; rank < num_ranks(); ++rank)
      expected += at::complex(numbers({5}, rank), numbers({5}, rank + 1));
    EXPECT_TRUE(at::equal(sum, expected));
  });
}

TEST_P(Collectives, AllReduceIsBitEqualOnAllRanks) {
  run([&](World& world, ProcessGroup& group) {
    const at::Tensor x = test::random({1031}, static_cast<uint64_t>(world.rank())).to(at::kBFloat16);
    const at::Tensor sum = all_reduce(x, ReduceOp::kSum, group).wait();
    const at::Tensor sums = all_gather(sum.view({1, -1}), group).wait();
    for (int64_t rank = 0; rank < num_ranks(); ++rank) EXPECT_TRUE(at::equal(sums[rank], sum));
  });
}

TEST_P(Collectives, AllReduceInPlaceKeepsTheStrides) {
  run([&](World& world, ProcessGroup& group) {
    const at::Tensor whole = numbers({4, 6}, world.rank());
    const at::Tensor column = whole.t().narrow(0, 1, 2);
    const at::Tensor untouched = whole.narrow(1, 3, 3).clone();
    all_reduce_(column, ReduceOp::kSum, group).wait();
    const at::Tensor expected = reduced(of_all_ranks({4, 6}, num_ranks()), ReduceOp::kSum);
    EXPECT_TRUE(at::equal(whole.narrow(1, 1, 2), expected.narrow(1, 1, 2)));
    EXPECT_TRUE(at::equal(whole.narrow(1, 3, 3), untouched));
  });
}

TEST_P(Collectives, AllReduceLeavesItsInputAlone) {
  run([&](World& world, ProcessGroup& group) {
    const at::Tensor x = numbers({9}, world.rank());
    all_reduce(x, ReduceOp::kSum, group).wait();
    EXPECT_TRUE(at::equal(x, numbers({9}, world.rank())));
  });
}

TEST_P(Collectives, AllGatherJoinsAlongAnyDimension) {
  run([&](World& world, ProcessGroup& group) {
    for (const at::ScalarType dtype :
         {at::kFloat, at::kBFloat16, at::kBool, at::kShort, at::kComplexFloat, at::kFloat8_e4m3fn}) {
      for (const int64_t dim : {0, 1, 2, -1}) {
        const at::Tensor result = all_gather(numbers({2, 3, 5}, world.rank(), dtype), group, dim).wait();
        EXPECT_EQ(result.scalar_type(), dtype);
        // at::equal knows no float8; these numbers are exact in any dtype.
        const at::Tensor expected = at::cat(of_all_ranks({2, 3, 5}, num_ranks()), dim);
        EXPECT_TRUE(at::equal(result.to(at::kComplexFloat), expected.to(dtype).to(at::kComplexFloat))) << dtype << dim;
      }
    }
  });
}

TEST_P(Collectives, AllGatherTakesStridesAndNumbers) {
  run([&](World& world, ProcessGroup& group) {
    const at::Tensor transposed = numbers({3, 4}, world.rank()).t();
    Tensors expected;
    for (int64_t rank = 0; rank < num_ranks(); ++rank) expected.push_back(numbers({3, 4}, rank).t());
    EXPECT_TRUE(at::equal(all_gather(transposed, group).wait(), at::cat(expected)));
    const at::Tensor number = at::full({}, static_cast<double>(world.rank()));
    EXPECT_TRUE(at::equal(all_gather(number, group).wait(), at::arange(num_ranks(), at::kFloat)));
  });
}

TEST_P(Collectives, AllGatherUnevenJoinsPartsOfAnySize) {
  run([&](World& world, ProcessGroup& group) {
    // The last but one is empty where there are several.
    std::vector<int64_t> sizes;
    for (int64_t rank = 0; rank < num_ranks(); ++rank) sizes.push_back(rank == num_ranks() - 2 ? 0 : 1 + 2 * rank);
    for (const int64_t dim : {0, 1}) {
      Tensors parts;
      for (int64_t rank = 0; rank < num_ranks(); ++rank) {
        const int64_t size = sizes[static_cast<size_t>(rank)];
        parts.push_back(dim == 0 ? numbers({size, 3}, rank) : numbers({3, size}, rank));
      }
      const at::Tensor mine = parts[static_cast<size_t>(world.rank())];
      EXPECT_TRUE(at::equal(all_gather_uneven(mine, sizes, group, dim).wait(), at::cat(parts, dim)));
    }
    sizes.back() += 1;
    if (world.rank() == num_ranks() - 1) {
      EXPECT_THROW(all_gather_uneven(numbers({1}, 0), sizes, group), c10::ValueError);
    }
  });
}

TEST_P(Collectives, ReduceScatterGivesEachRankItsPart) {
  run([&](World& world, ProcessGroup& group) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kLong, at::kShort}) {
      for (const int64_t dim : {0, 1, -1}) {
        const std::vector<int64_t> sizes{2 * num_ranks(), 3 * num_ranks(), 5 * num_ranks()};
        const at::Tensor result =
            reduce_scatter(numbers(sizes, world.rank(), dtype), ReduceOp::kSum, group, dim).wait();
        const at::Tensor sum = reduced(of_all_ranks(sizes, num_ranks(), dtype), ReduceOp::kSum);
        EXPECT_TRUE(at::equal(result, sum.chunk(num_ranks(), dim)[static_cast<size_t>(world.rank())])) << dtype << dim;
      }
    }
    const std::vector<int64_t> sizes{num_ranks()};
    const at::Tensor average = reduce_scatter(numbers(sizes, world.rank()), ReduceOp::kAvg, group).wait();
    EXPECT_TRUE(
        at::allclose(average, reduced(of_all_ranks(sizes, num_ranks()), ReduceOp::kAvg).narrow(0, world.rank(), 1)));
  });
}

TEST_P(Collectives, ReduceScatterUnevenGivesEachRankItsPart) {
  run([&](World& world, ProcessGroup& group) {
    std::vector<int64_t> sizes;
    int64_t total = 0, begin = 0;
    for (int64_t rank = 0; rank < num_ranks(); ++rank) {
      sizes.push_back(rank == 0 && num_ranks() > 1 ? 0 : 2 * rank + 1);
      if (rank < world.rank()) begin += sizes.back();
      total += sizes.back();
    }
    const int64_t own = sizes[static_cast<size_t>(world.rank())];
    for (const int64_t dim : {0, 1}) {
      const std::vector<int64_t> shape = dim == 0 ? std::vector<int64_t>{total, 3} : std::vector<int64_t>{3, total};
      const at::Tensor result =
          reduce_scatter_uneven(numbers(shape, world.rank()), sizes, ReduceOp::kSum, group, dim).wait();
      EXPECT_TRUE(at::equal(result, reduced(of_all_ranks(shape, num_ranks()), ReduceOp::kSum).narrow(dim, begin, own)));
    }
  });
}

TEST_P(Collectives, ReduceScatterRefusesWhatCannotBeSplit) {
  run([&](World& /*world*/, ProcessGroup& group) {
    if (group.size() == 1) return;
    EXPECT_THROW(reduce_scatter(at::ones({num_ranks() + 1}), ReduceOp::kSum, group), c10::ValueError);
    EXPECT_THROW(reduce_scatter(at::ones({}), ReduceOp::kSum, group), c10::ValueError);
  });
}

TEST_P(Collectives, IntoAGivenTensorWritesThere) {
  run([&](World& world, ProcessGroup& group) {
    const int64_t n = num_ranks();
    // Gathered in place: each rank's part lies where it belongs.
    const at::Tensor gathered = at::zeros({2 * n, 3});
    const at::Tensor part = gathered.narrow(0, 2 * world.rank(), 2);
    part.copy_(numbers({2, 3}, world.rank()));
    all_gather_into(gathered, part, group).wait();
    EXPECT_TRUE(at::equal(gathered, at::cat(of_all_ranks({2, 3}, n))));

    const at::Tensor strided = at::zeros({3, 2 * n}).t();
    all_gather_into(strided, numbers({2, 3}, world.rank()), group).wait();
    EXPECT_TRUE(at::equal(strided, gathered));

    const at::Tensor sum = reduced(of_all_ranks({2 * n, 3}, n), ReduceOp::kSum).narrow(0, 2 * world.rank(), 2);
    for (const at::Tensor& output : {at::zeros({2, 3}), at::zeros({3, 2}).t()}) {
      reduce_scatter_into(output, numbers({2 * n, 3}, world.rank()), ReduceOp::kSum, group).wait();
      EXPECT_TRUE(at::equal(output, sum));
    }
    const at::Tensor whole = numbers({2 * n, 3}, world.rank());
    const at::Tensor own = whole.narrow(0, 2 * world.rank(), 2);
    reduce_scatter_into(own, whole, ReduceOp::kSum, group).wait();
    EXPECT_TRUE(at::equal(own, sum));
    EXPECT_THROW(all_gather_into(at::zeros({2 * n + 1, 3}), at::zeros({2, 3}), group), c10::ValueError);
    EXPECT_THROW(reduce_scatter_into(at::zeros({2}), at::zeros({2 * n + 1}), ReduceOp::kSum, group), c10::ValueError);
  });
}

TEST_P(Collectives, AllToAllTransposesRanksAndParts) {
  run([&](World& world, ProcessGroup& group) {
    const int64_t n = num_ranks();
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kLong, at::kBool}) {
      const at::Tensor result = all_to_all(numbers({2 * n, 3}, world.rank(), dtype), group).wait();
      Tensors parts;
      for (int64_t rank = 0; rank < n; ++rank)
        parts.push_back(numbers({2 * n, 3}, rank, dtype).narrow(0, 2 * world.rank(), 2));
      EXPECT_TRUE(at::equal(result, at::cat(parts))) << dtype;
    }
  });
}

// Rank i sends (i + 2 j) % 3 rows to rank j: some send none, some get none.
TEST_P(Collectives, AllToAllTakesUnevenSplits) {
  run([&](World& world, ProcessGroup& group) {
    const int64_t n = num_ranks();
    const auto rows = [](int64_t from, int64_t to) { return (from + 2 * to) % 3; };
    std::vector<int64_t> input_splits, output_splits;
    Tensors expected;
    for (int64_t other = 0; other < n; ++other) {
      input_splits.push_back(rows(world.rank(), other));
      output_splits.push_back(rows(other, world.rank()));
      int64_t before = 0, total = 0;
      for (int64_t to = 0; to < n; ++to) {
        if (to < world.rank()) before += rows(other, to);
        total += rows(other, to);
      }
      expected.push_back(numbers({total, 3}, other).narrow(0, before, rows(other, world.rank())));
    }
    int64_t total = 0;
    for (const int64_t split : input_splits) total += split;
    const at::Tensor result = all_to_all(numbers({total, 3}, world.rank()), output_splits, input_splits, group).wait();
    EXPECT_TRUE(at::equal(result, at::cat(expected)));
    EXPECT_THROW(all_to_all(numbers({total + 1, 3}, 0), output_splits, input_splits, group), c10::ValueError);
  });
}

TEST_P(Collectives, BroadcastAndScatterComeFromTheirSource) {
  run([&](World& world, ProcessGroup& group) {
    const int64_t n = num_ranks(), source = n - 1;
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kLong, at::kBool, at::kShort}) {
      const at::Tensor x = numbers({3, 5}, world.rank(), dtype);
      broadcast_(x.t(), source, group).wait();
      EXPECT_TRUE(at::equal(x, numbers({3, 5}, source, dtype))) << dtype;
      Tensors parts;
      if (world.rank() == source) parts = of_all_ranks({2, 3}, n, dtype);
      const at::Tensor output = at::zeros({3, 2}, dtype).t();
      scatter_into(output, parts, source, group).wait();
      EXPECT_TRUE(at::equal(output, numbers({2, 3}, world.rank(), dtype))) << dtype;
    }
    EXPECT_THROW(broadcast_(at::zeros({1}), n, group), c10::ValueError);
  });
}

TEST_P(Collectives, EmptyTensorsAreNoSpecialCase) {
  run([&](World& /*world*/, ProcessGroup& group) {
    const int64_t n = num_ranks();
    EXPECT_EQ(all_reduce(at::ones({0, 3}), ReduceOp::kAvg, group).wait().sizes(), at::IntArrayRef({0, 3}));
    EXPECT_EQ(all_gather(at::ones({0, 3}), group).wait().sizes(), at::IntArrayRef({0, 3}));
    EXPECT_EQ(all_gather(at::ones({2, 0}), group).wait().sizes(), at::IntArrayRef({2 * n, 0}));
    EXPECT_EQ(reduce_scatter(at::ones({n, 0}), ReduceOp::kSum, group).wait().sizes(), at::IntArrayRef({1, 0}));
    EXPECT_EQ(all_to_all(at::ones({0, 3}), group).wait().sizes(), at::IntArrayRef({0, 3}));
    EXPECT_EQ(all_to_all(at::ones({n, 0}), group).wait().sizes(), at::IntArrayRef({n, 0}));
    EXPECT_EQ(broadcast_(at::ones({0}), 0, group).wait().numel(), 0);
    EXPECT_EQ(all_gather_into(at::ones({0}), at::ones({0}), group).wait().numel(), 0);
  });
}

TEST_P(Collectives, ManyAtOnceDoNotMixUp) {
  run([&](World& world, ProcessGroup& group) {
    std::vector<Pending> sums, gathered;
    for (int64_t i = 0; i < 40; ++i) {
      sums.push_back(all_reduce(numbers({i + 1}, world.rank()).add(i), ReduceOp::kMax, group));
      gathered.push_back(all_gather(numbers({i + 1}, world.rank()).add(i), group));
    }
    for (int64_t i = 39; i >= 0; --i) {
      const Tensors all = of_all_ranks({i + 1}, num_ranks());
      EXPECT_TRUE(at::equal(sums[static_cast<size_t>(i)].wait(), reduced(all, ReduceOp::kMax).add(i)));
      EXPECT_TRUE(at::equal(gathered[static_cast<size_t>(i)].wait(), at::cat(all).add(i)));
      EXPECT_TRUE(gathered[static_cast<size_t>(i)].completed());
    }
  });
}

TEST_P(Collectives, LargeTensorsArriveWhole) {
  run([&](World& world, ProcessGroup& group) {
    const std::vector<int64_t> sizes{num_ranks() * 300'007};
    const at::Tensor sum = all_reduce(numbers(sizes, world.rank()), ReduceOp::kSum, group).wait();
    const at::Tensor part = reduce_scatter(numbers(sizes, world.rank()), ReduceOp::kSum, group).wait();
    EXPECT_TRUE(at::equal(sum, reduced(of_all_ranks(sizes, num_ranks()), ReduceOp::kSum)));
    EXPECT_TRUE(at::equal(all_gather(part, group).wait(), sum));
  });
}

TEST_P(Collectives, InAGroupOfOneGiveTheirInput) {
  run([&](World& world, ProcessGroup& /*group*/) {
    const auto alone = world.group({world.rank()});
    const at::Tensor x = at::ones({3});
    EXPECT_TRUE(all_gather(x, *alone).wait().is_same(x));
    EXPECT_TRUE(all_reduce(x, ReduceOp::kSum, *alone).wait().is_same(x));
    EXPECT_TRUE(reduce_scatter(x, ReduceOp::kSum, *alone).wait().is_same(x));
    EXPECT_TRUE(all_to_all(x, *alone).wait().is_same(x));
    EXPECT_EQ(alone->backend(at::kCPU), nullptr);
  });
}

TEST_P(Collectives, BarrierWaitsForTheLast) {
  std::atomic<int64_t> num_there = 0;
  run([&](World& /*world*/, ProcessGroup& group) {
    ++num_there;
    barrier(group);
    EXPECT_EQ(num_there, num_ranks());
  });
}

INSTANTIATE_TEST_SUITE_P(Backends, Collectives, testing::ValuesIn(test::on_every_backend_and_staged({1, 2, 3, 4})),
                         test::case_name);

}  // namespace
}  // namespace titan::distributed
