// Attention that ranks share, against dense attention with the mask written out, in fp64.
#include "titan/parallel/context/ring_attention.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/where.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/support/backends.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/parallel/context/context_parallel.h"

namespace titan::parallel {
namespace {

using test::random;
using test::relative_difference;
using World = std::shared_ptr<distributed::World>;

struct Sizes {
  int64_t batch = 2, seq_len = 36, heads = 4, kv_heads = 2, width = 8, value_width = 8;
};

struct Problem {
  at::Tensor query, key, value, grad_out;
  at::Tensor first_key;  // or undefined
  int64_t window = 0;
};

// Three documents in the first row of a sequence, one in the second.
at::Tensor documents(int64_t batch, int64_t seq_len) {
  at::Tensor starts = at::zeros({batch, seq_len}, at::kLong);
  starts[0].narrow(0, 5, seq_len - 5).fill_(5);
  starts[0].narrow(0, seq_len / 2 + 3, seq_len / 2 - 3).fill_(seq_len / 2 + 3);
  return starts;
}

Problem problem(const Sizes& sizes, at::ScalarType dtype = at::kFloat) {
  const auto tensor = [&](int64_t heads, int64_t width, uint64_t seed) {
    return random({sizes.batch, sizes.seq_len, heads, width}, seed).to(dtype);
  };
  return {.query = tensor(sizes.heads, sizes.width, 1),
          .key = tensor(sizes.kv_heads, sizes.width, 2),
          .value = tensor(sizes.kv_heads, sizes.value_width, 3),
          .grad_out = tensor(sizes.heads, sizes.value_width, 4)};
}

// out, and the gradients of query, key and value.
using Results = std::vector<at::Tensor>;

Results dense(const Problem& problem) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor* x : {&problem.query, &problem.key, &problem.value}) {
    leaves.push_back(x->to(at::kDouble).detach().clone().set_requires_grad(true));
  }
  const int64_t seq_len = problem.query.size(1), group = problem.query.size(2) / problem.key.size(2);
  const at::Tensor keys = at::arange(seq_len), queries = keys.unsqueeze(1);
  at::Tensor seen = (keys <= queries).unsqueeze(0).unsqueeze(0);
  if (problem.window > 0) seen = seen & (keys > queries - problem.window);
  if (problem.first_key.defined()) seen = seen & (keys >= problem.first_key.unsqueeze(-1)).unsqueeze(1);
  const auto by_head = [&](const at::Tensor& x, int64_t times) {
    return x.transpose(1, 2).repeat_interleave(times, 1);
  };
  const at::Tensor scores = at::matmul(by_head(leaves[0], 1), by_head(leaves[1], group).transpose(2, 3)) /
                            std::sqrt(static_cast<double>(problem.query.size(3)));
  const at::Tensor weights = at::where(seen, scores, -std::numeric_limits<double>::infinity()).softmax(-1);
  const at::Tensor out = at::matmul(weights, by_head(leaves[2], group)).transpose(1, 2);
  out.backward(problem.grad_out.to(at::kDouble));
  return {out.detach(), leaves[0].grad(), leaves[1].grad(), leaves[2].grad()};
}

// This rank's rows of the same.
Results shared(const Problem& problem, const Ring& ring) {
  const at::Tensor own = ring.own_tokens(problem.query.size(1));
  const auto part = [&](const at::Tensor& x) { return x.defined() ? x.index_select(1, own) : x; };
  std::vector<at::Tensor> leaves;
  for (const at::Tensor* x : {&problem.query, &problem.key, &problem.value}) {
    leaves.push_back(part(*x).set_requires_grad(true));
  }
  const kernels::AttentionMask mask{.is_causal = true, .window = problem.window, .first_key = part(problem.first_key)};
  const at::Tensor out = ring_attention(leaves[0], leaves[1], leaves[2], mask, ring);
  out.backward(part(problem.grad_out));
  return {out.detach(), leaves[0].grad(), leaves[1].grad(), leaves[2].grad()};
}

const std::vector<RingOptions>& every_kind() {
  static const std::vector<RingOptions> kinds{{SequenceOrder::kHeadTail, KvRotation::kAllGather},
                                              {SequenceOrder::kHeadTail, KvRotation::kRing},
                                              {SequenceOrder::kInOrder, KvRotation::kAllGather},
                                              {SequenceOrder::kInOrder, KvRotation::kRing}};
  return kinds;
}

void expect_dense(const Problem& problem, const World& world, double tolerance) {
  const Results expected = dense(problem);
  for (const RingOptions& options : every_kind()) {
    const Ring ring(world->group(), options);
    const Results results = shared(problem, ring);
    const at::Tensor own = ring.own_tokens(problem.query.size(1));
    for (size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(results[i].scalar_type(), problem.query.scalar_type());
      EXPECT_LT(relative_difference(results[i], expected[i].index_select(1, own)), tolerance)
          << "result " << i << " of rank " << world->rank() << ", order " << static_cast<int>(options.order)
          << ", rotation " << static_cast<int>(options.rotation);
    }
  }
}

class RingAttention : public testing::TestWithParam<test::BackendCase> {
 protected:
  void expect_equal(const Problem& problem, double tolerance = 2e-6) {
    test::run_ranks(GetParam().num_ranks, GetParam().backend,
                    [&](const World& world) { expect_dense(problem, world, tolerance); });
  }
};

// Pieces of an odd number of rows. Groups of heads that share a key head; values of another width.
TEST_P(RingAttention, IsDenseAttention) {
  const int64_t seq_len = 2 * GetParam().num_ranks * 3;
  expect_equal(problem({.seq_len = seq_len}));
  expect_equal(problem({.batch = 1, .seq_len = seq_len, .heads = 3, .kv_heads = 1, .width = 6, .value_width = 10}));
  expect_equal(problem({.batch = 1, .seq_len = 2 * GetParam().num_ranks, .heads = 1, .kv_heads = 1}));
}

TEST_P(RingAttention, StaysWithinDocumentsAndWindows) {
  Problem with_documents = problem({.seq_len = 2 * GetParam().num_ranks * 9});
  const int64_t seq_len = with_documents.query.size(1);
  with_documents.first_key = documents(2, seq_len);
  expect_equal(with_documents);
  for (const int64_t window : {int64_t{2}, int64_t{5}, seq_len / 2, seq_len + 1}) {
    Problem with_window = problem({.seq_len = seq_len});
    with_window.window = window;
    expect_equal(with_window);
  }
  with_documents.window = 4;
  expect_equal(with_documents);
}
INSTANTIATE_TEST_SUITE_P(Backends, RingAttention, testing::ValuesIn(test::on_every_backend({1, 2, 3})),
                         test::case_name);

// bf16 merges in fp32 and rounds once: no further from fp64 than one device is, but for a little.
TEST(RingAttentions, OfBf16AreAsExactAsOneDevice) {
  const Problem in_bf16 = problem({.seq_len = 96, .width = 32, .value_width = 32}, at::kBFloat16);
  const Results exact = dense(in_bf16);
  std::vector<double> of_one_device;
  test::run_ranks(1, "shm", [&](const World& world) {
    const Results results = shared(in_bf16, Ring(world->group(), {}));
    for (size_t i = 0; i < results.size(); ++i) of_one_device.push_back(relative_difference(results[i], exact[i]));
  });
  test::run_ranks(4, "shm", [&](const World& world) {
    for (const RingOptions& options : every_kind()) {
      const Ring ring(world->group(), options);
      const Results results = shared(in_bf16, ring);
      for (size_t i = 0; i < results.size(); ++i) {
        EXPECT_LT(relative_difference(results[i], exact[i].index_select(1, ring.own_tokens(96))),
                  1.5 * of_one_device[i])
            << i;
      }
    }
  });
}

// Messages of one attention could be taken for those of another, and sums could depend on who comes first.
TEST(RingAttentions, AreTheSameBitsInEveryRun) {
  const Problem some = problem({.seq_len = 24});
  test::run_ranks(4, "shm", [&](const World& world) {
    for (const RingOptions& options : every_kind()) {
      const Ring ring(world->group(), options);
      const Results first = shared(some, ring), second = shared(some, ring);
      for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(at::equal(first[i], second[i])) << i;
    }
  });
}

TEST(RingAttentions, HaveNoSecondDerivative) {
  test::run_ranks(2, "shm", [&](const World& world) {
    const Ring ring(world->group(), {});
    at::Tensor x = random({1, 4, 1, 4}, 1).set_requires_grad(true);
    const at::Tensor out = ring_attention(x, x, x, {.is_causal = true}, ring);
    EXPECT_THROW(out.sum().backward({}, std::nullopt, /*create_graph=*/true), c10::NotImplementedError);
  });
}

TEST(ShareAttention, RefusesBlocksWithoutAttention) {
  struct Block : nn::Callable<Block> {
    at::Tensor forward(const at::Tensor& x) { return x; }
  };
  test::run_ranks(1, "shm", [&](const World& world) {
    Block block;
    EXPECT_THROW(share_attention({&block}, std::make_shared<Ring>(world->group(), RingOptions{})), c10::ValueError);
  });
}

}  // namespace
}  // namespace titan::parallel
