#include "titan/train/model_input.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "tests/support/tensors.h"
#include "titan/data/data_loader.h"

namespace titan::train {
namespace {

const at::Tensor& tokens() {
  static const at::Tensor tokens = at::arange(16).view({2, 8});
  return tokens;
}

// The first and the last quarter.
at::Tensor ends(int64_t seq_len) {
  const at::Tensor all = at::arange(seq_len);
  return all.index({(all < seq_len / 4).logical_or(all >= seq_len - seq_len / 4)});
}

TEST(ModelInput, IsTheWholeBatchWhereSequencesAreNotShared) {
  const models::TokenBatch input = model_input({.input = tokens(), .labels = tokens() + 1}, nullptr);
  EXPECT_TRUE(at::equal(input.tokens, tokens()));
  EXPECT_TRUE(at::equal(input.labels, tokens() + 1));
  EXPECT_FALSE(input.places.positions.defined());
  EXPECT_FALSE(input.places.documents.first_key.defined());
}

TEST(ModelInput, HasARanksTokensAtTheirPlaces) {
  const models::TokenBatch input = model_input({.input = tokens(), .labels = tokens() + 1}, ends);
  const at::Tensor own = ends(8);
  EXPECT_TRUE(at::equal(input.tokens, tokens().index_select(1, own)));
  EXPECT_TRUE(at::equal(input.labels, input.tokens + 1));
  EXPECT_TRUE(at::equal(input.places.positions, own));
  EXPECT_FALSE(input.places.documents.first_key.defined());
}

// A document begins at token 3 of the first row.
TEST(ModelInput, PositionsBeginAnewWithEachDocument) {
  at::Tensor starts = at::zeros({2, 8}, at::kLong);
  starts[0].narrow(0, 3, 5).fill_(3);
  const data::Batch batch{.input = tokens(), .labels = tokens(), .document_starts = starts};
  const models::TokenBatch whole = model_input(batch, nullptr);
  EXPECT_TRUE(at::equal(whole.places.positions, at::arange(8) - starts));
  EXPECT_TRUE(at::equal(whole.places.documents.first_key, starts));
  EXPECT_TRUE(at::equal(whole.places.documents.starts, at::tensor({0, 3, 0, 8}, at::kInt).view({2, 2})));
  EXPECT_EQ(whole.places.documents.longest, 8);
  const models::TokenBatch part = model_input(batch, ends);
  EXPECT_TRUE(at::equal(part.places.positions, whole.places.positions.index_select(1, ends(8))));
  EXPECT_TRUE(at::equal(part.places.documents.first_key, starts.index_select(1, ends(8))));
  EXPECT_TRUE(at::equal(part.places.documents.starts, at::tensor({0, 2, 0, 4}, at::kInt).view({2, 2})));
  EXPECT_EQ(part.places.documents.longest, 4);
}

}  // namespace
}  // namespace titan::train
