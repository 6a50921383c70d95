#include "titan/kernels/cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/support/tensors.h"
#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

using test::random;

constexpr int64_t kIgnored = -100;

at::Tensor some_labels(int64_t rows, int64_t vocabulary) {
  at::Tensor labels = at::randint(vocabulary, {rows}, at::kLong);
  if (rows > 1) labels[1] = kIgnored;
  labels[0] = vocabulary - 1;
  return labels;
}

at::Tensor losses_of(const LogitRows& rows, const at::Tensor& labels) {
  return at::where(labels == kIgnored, 0.0, at::log(rows.sum) + (rows.largest - rows.label_logit));
}

struct Reference {
  at::Tensor losses, gradient;  // float64
};

Reference reference(const at::Tensor& logits, const at::Tensor& labels, double scale) {
  at::Tensor wide = logits.detach().to(at::kDouble).set_requires_grad(true);
  const at::Tensor losses = at::cross_entropy_loss(wide, labels, {}, at::Reduction::None, kIgnored);
  (losses.sum() * scale).backward();
  return {losses.detach(), wide.grad()};
}

// Large logits too, where a softmax without its shift overflows.
TEST(CrossEntropyKernel, EqualsItsFormulaInEveryDtype) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t vocabulary : {1, 7, 64, 1027}) {
      for (const double size : {1.0, 60.0}) {
        const at::Tensor logits = (random({9, vocabulary}, 1) * size).to(dtype);
        const at::Tensor labels = some_labels(9, vocabulary);
        const Reference expected = reference(logits, labels, 0.25);
        const LogitColumns columns{.vocabulary = vocabulary, .ignore_index = kIgnored};
        const LogitRows rows = logit_rows(logits, labels, columns);
        if (vocabulary > 1) {
          EXPECT_LE(test::relative_difference(losses_of(rows, labels), expected.losses), 1e-6);
        }
        const at::Tensor before = logits.clone();
        logit_gradient_(logits, labels, rows.largest, rows.sum, columns, 0.25);
        if (vocabulary == 1) {
          EXPECT_TRUE(at::equal(logits, at::zeros_like(logits)));
        } else {
          const double allowed = dtype == at::kFloat ? 1e-6 : dtype == at::kBFloat16 ? 0.004 : 0.0005;
          EXPECT_LE(test::relative_difference(logits, expected.gradient), allowed) << dtype << " " << vocabulary;
        }
        // What other devices run.
        at::Tensor composite = before.clone();
        const auto [largest, sum, label_logit] = logit_rows_composite(before, labels, 0, vocabulary, kIgnored);
        EXPECT_TRUE(at::equal(largest, rows.largest) && at::equal(label_logit, rows.label_logit));
        EXPECT_LE(test::relative_difference(sum, rows.sum), 1e-6);
        logit_gradient_composite(composite, labels, largest, sum, 0, kIgnored, 0.25);
        EXPECT_LE((composite - logits).abs().max().item<double>(), dtype == at::kFloat ? 1e-7 : 1e-3);
      }
    }
  }
}

// Parts of the columns, as ranks have them, one of which has none: joined, they are the whole.
TEST(CrossEntropyKernel, WorksOnColumnsOfTheWhole) {
  const at::Tensor whole = random({6, 10}, 1), labels = some_labels(6, 10);
  const Reference expected = reference(whole, labels, 2.0);
  const LogitRows of_whole = logit_rows(whole, labels, {.vocabulary = 10, .ignore_index = kIgnored});
  at::Tensor label_logit = at::zeros({6}), sum = at::zeros({6});
  for (const auto& [first, count] : std::vector<std::pair<int64_t, int64_t>>{{0, 4}, {4, 6}, {10, 0}}) {
    const at::Tensor part = whole.narrow(1, first, count);  // rows are not next to each other
    const LogitColumns columns{.first = first, .vocabulary = 10, .ignore_index = kIgnored};
    const LogitRows rows = logit_rows(part, labels, columns);
    label_logit += rows.label_logit;
    sum += rows.sum * at::exp(rows.largest - of_whole.largest);
    logit_gradient_(part, labels, of_whole.largest, of_whole.sum, columns, 2.0);
  }
  EXPECT_TRUE(at::equal(label_logit, of_whole.label_logit));
  EXPECT_LE(test::relative_difference(sum, of_whole.sum), 1e-6);
  EXPECT_LE(test::relative_difference(whole, expected.gradient), 1e-6);
}

TEST(CrossEntropyKernel, TakesAnyStrides) {
  const at::Tensor logits = random({9, 7}, 1).t(), labels = some_labels(7, 9);
  const Reference expected = reference(logits, labels, 1.0);
  const LogitColumns columns{.vocabulary = 9, .ignore_index = kIgnored};
  const LogitRows rows = logit_rows(logits, labels, columns);
  logit_gradient_(logits, labels, rows.largest, rows.sum, columns, 1.0);
  EXPECT_LE(test::relative_difference(logits, expected.gradient), 1e-6);
}

TEST(CrossEntropyKernel, RefusesLabelsOfNoToken) {
  const at::Tensor logits = random({2, 5}, 1);
  for (const int64_t label : {5L, -1L}) {
    const at::Tensor labels = at::full({2}, label, at::kLong);
    EXPECT_THROW(logit_rows(logits, labels, {.vocabulary = 5, .ignore_index = kIgnored}), c10::ValueError);
    const at::Tensor elsewhere = std::get<2>(logit_rows_composite(logits, labels, 0, 5, kIgnored));
    EXPECT_TRUE(elsewhere.isnan().all().item<bool>());
  }
  EXPECT_THROW(logit_rows(logits, at::zeros({3}, at::kLong), {.vocabulary = 5}), c10::ValueError);
}

}  // namespace
}  // namespace titan::kernels
