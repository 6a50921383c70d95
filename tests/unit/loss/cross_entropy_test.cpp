#include "titan/loss/cross_entropy.h"

#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/linear.h>
#include <gtest/gtest.h>

#include "tests/support/tensors.h"
#include "titan/nn/init.h"

namespace titan::loss {
namespace {

using test::random;
using test::relative_difference;

constexpr int64_t kDim = 6, kVocab = 11;

struct Problem {
  nn::Linear output{kDim, kVocab, at::kFloat};
  at::Tensor hidden, labels;
  explicit Problem(int64_t batch, int64_t seq) {
    output.to_empty(at::kCPU);
    nn::Initializer(1).normal(output.weight);
    hidden = random({batch, seq, kDim}, 2).set_requires_grad(true);
    labels = at::randint(kVocab, {batch, seq}, at::make_generator<at::CPUGeneratorImpl>(3), at::kLong);
    labels[0][1] = kIgnoreIndex;
  }
  at::Tensor whole(double scale) const {
    const at::Tensor logits = at::linear(hidden, output.weight).flatten(0, 1);
    return at::cross_entropy_loss(logits, labels.flatten(), {}, at::Reduction::Sum, kIgnoreIndex) * scale;
  }
};

class ChunkedCrossEntropyTest : public testing::TestWithParam<int64_t> {};

// 15 tokens: in 1, 2, 4 and 15 chunks, and more chunks than tokens.
TEST_P(ChunkedCrossEntropyTest, EqualsTheLossOverWholeLogits) {
  Problem chunked(3, 5), whole(3, 5);
  const at::Tensor loss = chunked_cross_entropy(chunked.hidden, chunked.labels, chunked.output, 0.25, GetParam());
  const at::Tensor expected = whole.whole(0.25);
  EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-6 * expected.item<double>());
  loss.backward();
  expected.backward();
  EXPECT_LT(relative_difference(chunked.hidden.grad(), whole.hidden.grad()), 1e-6);
  EXPECT_LT(relative_difference(chunked.output.weight.get().grad(), whole.output.weight.get().grad()), 1e-6);
}
INSTANTIATE_TEST_SUITE_P(Chunks, ChunkedCrossEntropyTest, testing::Values(1, 2, 4, 15, 40));

TEST(ChunkedCrossEntropy, LogitsAreNeverWhole) {
  Problem problem(4, 8);
  int64_t largest = 0, calls = 0;
  problem.output.register_forward_hook([&](nn::Module&, nn::Inputs, at::Tensor& logits) {
    largest = std::max(largest, logits.size(0));
    ++calls;
  });
  chunked_cross_entropy(problem.hidden, problem.labels, problem.output, 1.0, 8).backward();
  EXPECT_EQ(largest, 4);
  EXPECT_EQ(calls, 8);
}

TEST(ChunkedCrossEntropy, IsOneUseOfTheOutputLayer) {
  Problem problem(4, 8);
  int64_t uses = 0;
  problem.output.register_use_hooks([&](nn::Module&) { ++uses; }, [](nn::Module&) {});
  chunked_cross_entropy(problem.hidden, problem.labels, problem.output, 1.0, 8);
  EXPECT_EQ(uses, 1);
}

TEST(ChunkedCrossEntropy, RecordsNothingWithoutGradients) {
  Problem problem(2, 3);
  at::NoGradGuard no_grad;
  const at::Tensor loss = chunked_cross_entropy(problem.hidden, problem.labels, problem.output, 1.0, 2);
  EXPECT_FALSE(loss.requires_grad());
  EXPECT_FALSE(problem.output.weight.get().grad().defined());
}

TEST(ChunkedCrossEntropy, MicroBatchesAddUp) {
  Problem whole(4, 5), parts(4, 5);
  chunked_cross_entropy(whole.hidden, whole.labels, whole.output, 0.1, 3).backward();
  double sum = 0;
  for (int64_t row = 0; row < 4; ++row) {
    const at::Tensor loss =
        chunked_cross_entropy(parts.hidden.narrow(0, row, 1), parts.labels.narrow(0, row, 1), parts.output, 0.1, 3);
    loss.backward();
    sum += loss.item<double>();
  }
  EXPECT_NEAR(sum, whole.whole(0.1).item<double>(), 1e-5);
  EXPECT_LT(relative_difference(parts.output.weight.get().grad(), whole.output.weight.get().grad()), 1e-6);
  EXPECT_LT(relative_difference(parts.hidden.grad(), whole.hidden.grad()), 1e-6);
}

TEST(ChunkedCrossEntropy, RefusesNoChunks) {
  Problem problem(1, 2);
  EXPECT_THROW(chunked_cross_entropy(problem.hidden, problem.labels, problem.output, 1.0, 0), c10::ValueError);
}

TEST(CountValidTokens, LeavesOutIgnoredLabels) { EXPECT_EQ(count_valid_tokens(Problem(3, 5).labels), 14); }

}  // namespace
}  // namespace titan::loss
