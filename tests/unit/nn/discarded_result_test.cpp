#include "titan/nn/discarded_result.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include "tests/support/tensors.h"
#include "titan/nn/feed_forward.h"
#include "titan/nn/init.h"
#include "titan/nn/rms_norm.h"
#include "titan/nn/saved_tensor_hooks.h"

namespace titan::nn {
namespace {

using test::random;
using Weak = c10::weak_intrusive_ptr<c10::StorageImpl>;

Weak memory_of(const at::Tensor& tensor) { return Weak(tensor.storage().getWeakStorageImpl()); }

// Two factors, one of them a square: products keep their factors for the backward.
struct Products {
  at::Tensor x = random({5, 3}, 1).set_requires_grad(true);
  at::Tensor w = random({3, 5}, 2).set_requires_grad(true);
  int computed = 0;

  at::Tensor square() {
    ++computed;
    return x * x;
  }
};

TEST(DiscardedResult, GivesTheSameGradientsFromASecondComputation) {
  Products plain, run;
  (plain.square().t() * plain.w).sum().backward();

  Weak memory{c10::intrusive_ptr<c10::StorageImpl>()};
  const at::Tensor sum = use_and_discard(
      run.square(), [&] { return run.square(); },
      [&](const at::Tensor& square) {
        memory = memory_of(square);
        return (square.t() * run.w).sum();
      });
  EXPECT_TRUE(memory.expired());
  EXPECT_EQ(run.computed, 1);
  sum.backward();
  EXPECT_EQ(run.computed, 2);
  EXPECT_TRUE(at::equal(run.x.grad(), plain.x.grad()));
  EXPECT_TRUE(at::equal(run.w.grad(), plain.w.grad()));
}

TEST(DiscardedResult, ComputesOnceForAllThatSavedIt) {
  Products plain, run;
  const auto use = [](const at::Tensor& square, const at::Tensor& w) {
    return (square.t() * w).sum() + (square.t() * w * 2).sum() + (square[1] * w.t()[2]).sum();
  };
  use(plain.square(), plain.w).backward();

  const at::Tensor sum = use_and_discard(
      run.square(), [&] { return run.square(); }, [&](const at::Tensor& square) { return use(square, run.w); });
  sum.backward({}, /*retain_graph=*/true);
  EXPECT_EQ(run.computed, 2);
  EXPECT_TRUE(at::equal(run.x.grad(), plain.x.grad()));
  EXPECT_TRUE(at::equal(run.w.grad(), plain.w.grad()));

  sum.backward();
  EXPECT_TRUE(at::equal(run.w.grad(), plain.w.grad() * 2));
}

TEST(DiscardedResult, OneMayUseAnother) {
  Products plain, run;
  const auto use = [](const at::Tensor& square, const at::Tensor& cube, const at::Tensor& w) {
    return ((square.t() * w) * (cube.t() * w)).sum();
  };
  const at::Tensor square = plain.square();
  use(square, square * plain.x, plain.w).backward();

  Weak outer{c10::intrusive_ptr<c10::StorageImpl>()}, inner{c10::intrusive_ptr<c10::StorageImpl>()};
  int cubes = 0;
  const auto cube = [&] {
    ++cubes;
    return run.x * run.x * run.x;
  };
  const at::Tensor sum = use_and_discard(
      run.square(), [&] { return run.square(); },
      [&](const at::Tensor& square) {
        outer = memory_of(square);
        return use_and_discard(cube(), cube, [&](const at::Tensor& cube) {
          inner = memory_of(cube);
          return use(square, cube, run.w);
        });
      });
  EXPECT_TRUE(outer.expired());
  EXPECT_TRUE(inner.expired());
  sum.backward();
  EXPECT_EQ(run.computed, 2);
  EXPECT_EQ(cubes, 2);
  EXPECT_LE(test::relative_difference(run.x.grad(), plain.x.grad()), 1e-6);
  EXPECT_LE(test::relative_difference(run.w.grad(), plain.w.grad()), 1e-6);
}

TEST(DiscardedResult, KeepsNothingWithoutGradients) {
  Products run;
  const at::AutoGradMode without_gradients(false);
  use_and_discard(
      run.square(), [&] { return run.square(); },
      [&](const at::Tensor& square) {
        EXPECT_EQ(SavedTensorHooksGuard::active(), nullptr);
        return square.t() * run.w;
      });
  EXPECT_EQ(run.computed, 1);
}

TEST(DiscardedResult, LeavesWhatStaysToTheHooksAround) {
  struct Counting : SavedTensorHooks {
    int made = 0;
    std::unique_ptr<torch::autograd::SavedVariableHooks> make() override {
      ++made;
      return nullptr;
    }
  } counting;
  Products run;
  const SavedTensorHooksGuard hooks(&counting);
  use_and_discard(
      run.square(), [&] { return run.square(); }, [&](const at::Tensor& square) { return (square.t() * run.w).sum(); })
      .backward();
  EXPECT_EQ(run.computed, 1);
  EXPECT_GE(counting.made, 4);  // the factors of two products
}

TEST(DiscardedResult, IsWhatFeedForwardDoesWithItsProduct) {
  FeedForward ffn(6, 10, at::kFloat);
  ffn.to_empty(at::kCPU);
  for (Parameter* parameter : ffn.parameters()) Initializer(3).normal(*parameter, 0.0, 0.3);
  Weak memory{c10::intrusive_ptr<c10::StorageImpl>()};
  ffn.w2->register_forward_pre_hook([&](Module&, Inputs inputs) { memory = memory_of(*inputs.front()); });

  const at::Tensor y = ffn(random({2, 4, 6}, 1));
  EXPECT_TRUE(memory.expired());
  y.sum().backward();
  const at::Tensor gradient = ffn.w2->weight.get().grad().clone();
  ASSERT_GT(gradient.abs().sum().item<double>(), 0);

  ffn.w2->weight.get().mutable_grad() = at::Tensor();
  struct Keeping : SavedTensorHooks {  // what autograd does by itself
    std::unique_ptr<torch::autograd::SavedVariableHooks> make() override { return nullptr; }
  } keeping;
  const SavedTensorHooksGuard hooks(&keeping);
  const at::Tensor kept = ffn(random({2, 4, 6}, 1));
  EXPECT_FALSE(memory.expired());
  kept.sum().backward();
  EXPECT_TRUE(at::equal(ffn.w2->weight.get().grad(), gradient));
}

TEST(DiscardedResult, IsWhatANormsUserMayAskFor) {
  RMSNorm norm(6, 1e-5, at::kFloat);
  norm.to_empty(at::kCPU);
  Initializer(3).normal(norm.weight, 1.0, 0.3);
  const at::Tensor w = random({6, 4}, 1).set_requires_grad(true);
  std::vector<at::Tensor> gradients;
  for (const bool hooked : {false, true}) {
    if (hooked) norm.register_forward_pre_hook([](Module&, Inputs) {});
    const at::Tensor x = random({2, 3, 6}, 2).set_requires_grad(true);
    norm.weight.get().mutable_grad() = at::Tensor();
    Weak memory{c10::intrusive_ptr<c10::StorageImpl>()};
    const at::Tensor y = norm.use_and_discard(x, norm(x), [&](const at::Tensor& normed) {
      memory = memory_of(normed);
      return at::matmul(normed, w);
    });
    EXPECT_EQ(memory.expired(), !hooked);
    y.square().sum().backward();
    gradients.push_back(at::cat({x.grad().flatten(), norm.weight.get().grad()}));
  }
  EXPECT_TRUE(at::equal(gradients[0], gradients[1]));
}

}  // namespace
}  // namespace titan::nn
