// Gradients through collectives against those of one process that holds all ranks' tensors. The loss is the sum of
// all ranks' losses, each a weighting of the rank's output that differs between ranks.
#include "titan/distributed/collectives_with_grad.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "tests/support/backends.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/distributed/collectives.h"

namespace titan::distributed {
namespace {

using Tensors = std::vector<at::Tensor>;

class CollectivesWithGrad : public testing::TestWithParam<test::BackendCase> {
 protected:
  using Distributed = std::function<at::Tensor(const at::Tensor& x, ProcessGroup& group)>;
  using Reference = std::function<Tensors(const Tensors& xs)>;  // the outputs of all ranks

  static at::Tensor loss(const at::Tensor& y, int64_t rank) {
    return (y * y * test::random(y.sizes(), 100 + static_cast<uint64_t>(rank))).sum();
  }

  void compare(const std::function<std::vector<int64_t>(int64_t rank)>& sizes, const Distributed& distributed,
               const Reference& reference) const {
    const int64_t n = GetParam().num_ranks;
    Tensors xs;
    for (int64_t rank = 0; rank < n; ++rank) {
      xs.push_back(test::random(sizes(rank), static_cast<uint64_t>(rank)).to(at::kDouble).requires_grad_());
    }
    const Tensors ys = reference(xs);
    at::Tensor total = at::zeros({}, at::kDouble);
    for (int64_t rank = 0; rank < n; ++rank) total = total + loss(ys[static_cast<size_t>(rank)], rank);
    const Tensors expected = torch::autograd::grad({total}, xs);

    test::run_ranks(n, GetParam().backend, [&](const auto& world) {
      const auto rank = static_cast<size_t>(world->rank());
      const at::Tensor x = xs[rank].detach().clone().requires_grad_();
      const at::Tensor y = distributed(x * 1, *world->group());
      EXPECT_TRUE(at::allclose(y, ys[rank]));
      EXPECT_TRUE(y.requires_grad());
      const at::Tensor grad = torch::autograd::grad({loss(y, world->rank())}, {x}).front();
      EXPECT_TRUE(at::allclose(grad, expected[rank]));
    });
  }

  static at::Tensor sum(const Tensors& xs) {
    at::Tensor sum = xs.front();
    for (size_t i = 1; i < xs.size(); ++i) sum = sum + xs[i];
    return sum;
  }
};

TEST_P(CollectivesWithGrad, AllGather) {
  for (const int64_t dim : {0, 1}) {
    compare(
        [](int64_t) {
          return std::vector<int64_t>{3, 5};
        },
        [&](const at::Tensor& x, ProcessGroup& group) { return all_gather_with_grad(x, group, dim); },
        [&](const Tensors& xs) { return Tensors(xs.size(), at::cat(xs, dim)); });
  }
}

TEST_P(CollectivesWithGrad, AllGatherUneven) {
  const int64_t n = GetParam().num_ranks;
  std::vector<int64_t> sizes;
  for (int64_t rank = 0; rank < n; ++rank) sizes.push_back(rank == 1 ? 0 : rank + 1);
  compare(
      [&](int64_t rank) {
        return std::vector<int64_t>{sizes[static_cast<size_t>(rank)], 5};
      },
      [&](const at::Tensor& x, ProcessGroup& group) { return all_gather_uneven_with_grad(x, sizes, group); },
      [&](const Tensors& xs) { return Tensors(xs.size(), at::cat(xs)); });
}

TEST_P(CollectivesWithGrad, ReduceScatter) {
  const int64_t n = GetParam().num_ranks;
  for (const int64_t dim : {0, 1}) {
    compare(
        [&](int64_t) {
          return std::vector<int64_t>{2 * n, 3 * n};
        },
        [&](const at::Tensor& x, ProcessGroup& group) { return reduce_scatter_with_grad(x, group, dim); },
        [&](const Tensors& xs) { return sum(xs).chunk(n, dim); });
  }
}

TEST_P(CollectivesWithGrad, ReduceScatterUneven) {
  const int64_t n = GetParam().num_ranks;
  std::vector<int64_t> sizes;
  int64_t total = 0;
  for (int64_t rank = 0; rank < n; ++rank) {
    sizes.push_back(rank == 1 ? 0 : rank + 1);
    total += sizes.back();
  }
  compare(
      [&](int64_t) {
        return std::vector<int64_t>{total, 3};
      },
      [&](const at::Tensor& x, ProcessGroup& group) { return reduce_scatter_uneven_with_grad(x, sizes, group); },
      [&](const Tensors& xs) { return sum(xs).split_with_sizes(sizes); });
}

TEST_P(CollectivesWithGrad, AllReduce) {
  compare([](int64_t) { return std::vector<int64_t>{7}; },
          [](const at::Tensor& x, ProcessGroup& group) { return all_reduce_with_grad(x, group); },
          [](const Tensors& xs) { return Tensors(xs.size(), sum(xs)); });
}

TEST_P(CollectivesWithGrad, AllToAll) {
  const int64_t n = GetParam().num_ranks;
  compare(
      [&](int64_t) {
        return std::vector<int64_t>{2 * n, 3};
      },
      [](const at::Tensor& x, ProcessGroup& group) { return all_to_all_with_grad(x, {}, {}, group); },
      [&](const Tensors& xs) {
        Tensors ys;
        for (int64_t to = 0; to < n; ++to) {
          Tensors parts;
          for (const at::Tensor& x : xs) parts.push_back(x.narrow(0, 2 * to, 2));
          ys.push_back(at::cat(parts));
        }
        return ys;
      });
}

// Rank i sends i + j rows to rank j.
TEST_P(CollectivesWithGrad, AllToAllWithUnevenSplits) {
  const int64_t n = GetParam().num_ranks;
  const auto total = [n](int64_t rank) { return n * rank + n * (n - 1) / 2; };
  compare(
      [&](int64_t rank) {
        return std::vector<int64_t>{total(rank), 3};
      },
      [&](const at::Tensor& x, ProcessGroup& group) {
        std::vector<int64_t> splits;
        for (int64_t other = 0; other < n; ++other) splits.push_back(group.rank() + other);
        return all_to_all_with_grad(x, splits, splits, group);
      },
      [&](const Tensors& xs) {
        Tensors ys;
        for (int64_t to = 0; to < n; ++to) {
          Tensors parts;
          for (int64_t from = 0; from < n; ++from) {
            parts.push_back(xs[static_cast<size_t>(from)].narrow(0, from * to + to * (to - 1) / 2, from + to));
          }
          ys.push_back(at::cat(parts));
        }
        return ys;
      });
}

// A column-parallel and a row-parallel product, as tensor parallel does it: x is common, every rank goes on with the
// common sum, so the loss counts once. Gradients are those of the whole product.
TEST_P(CollectivesWithGrad, OneDirectionFormsMakeATensorParallelProduct) {
  const int64_t n = GetParam().num_ranks;
  const at::Tensor x0 = test::random({4, 6}, 1).to(at::kDouble).requires_grad_();
  const at::Tensor w1 = test::random({6, 2 * n}, 2).to(at::kDouble), w2 = test::random({2 * n, 5}, 3).to(at::kDouble);
  const at::Tensor y0 = x0.mm(w1).mm(w2);
  const at::Tensor expected = torch::autograd::grad({loss(y0, 0)}, {x0}).front();
  test::run_ranks(n, GetParam().backend, [&](const auto& world) {
    const auto group = world->group();
    const at::Tensor x = x0.detach().clone().requires_grad_();
    const at::Tensor local_w1 = w1.narrow(1, 2 * world->rank(), 2), local_w2 = w2.narrow(0, 2 * world->rank(), 2);
    const at::Tensor y = all_reduce_in_forward(all_reduce_in_backward(x, *group).mm(local_w1).mm(local_w2), *group);
    EXPECT_TRUE(at::allclose(y, y0));
    EXPECT_TRUE(at::allclose(torch::autograd::grad({loss(y, 0)}, {x}).front(), expected));
  });
}

TEST_P(CollectivesWithGrad, SecondDerivativesGoThrough) {
  const int64_t n = GetParam().num_ranks;
  test::run_ranks(n, GetParam().backend, [&](const auto& world) {
    const at::Tensor x = at::full({2}, 3.0, at::kDouble).requires_grad_();
    const at::Tensor y = all_gather_with_grad(x * x * x, *world->group()).sum();
    const at::Tensor first = torch::autograd::grad({y}, {x}, {}, std::nullopt, /*create_graph=*/true).front();
    const at::Tensor second = torch::autograd::grad({first.sum()}, {x}).front();
    // Each rank's loss counts every x once: d2/dx2 of n x^3.
    EXPECT_TRUE(at::allclose(second, at::full({2}, 18.0 * static_cast<double>(n), at::kDouble)));
  });
}

TEST_P(CollectivesWithGrad, WithoutGradientsMakeNoGraph) {
  test::run_ranks(GetParam().num_ranks, GetParam().backend, [&](const auto& world) {
    const auto group = world->group();
    EXPECT_FALSE(all_reduce_with_grad(at::ones({2}), *group).requires_grad());
    const at::NoGradGuard no_grad;
    const at::Tensor x = at::ones({2}).requires_grad_();
    EXPECT_EQ(all_gather_with_grad(x, *group).requires_grad(), group->size() == 1);
  });
}

INSTANTIATE_TEST_SUITE_P(Backends, CollectivesWithGrad, testing::ValuesIn(test::on_every_backend_and_staged({1, 2, 3})),
                         test::case_name);

}  // namespace
}  // namespace titan::distributed
