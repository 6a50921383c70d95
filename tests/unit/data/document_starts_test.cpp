#include "titan/data/document_starts.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"

namespace titan::data {
namespace {

at::Tensor rows(std::vector<std::vector<int64_t>> values) {
  at::Tensor tensor =
      at::zeros({static_cast<int64_t>(values.size()), static_cast<int64_t>(values[0].size())}, at::kLong);
  for (size_t row = 0; row < values.size(); ++row) {
    for (size_t i = 0; i < values[row].size(); ++i) {
      tensor.mutable_data_ptr<int64_t>()[row * values[row].size() + i] = values[row][i];
    }
  }
  return tensor;
}

// The last token (9) belongs to its document; two of them in a row are a document of one token.
TEST(DocumentStarts, FollowEachLastToken) {
  const at::Tensor tokens = rows({{1, 2, 9, 3, 4, 5, 9, 9, 6}, {9, 1, 1, 1, 1, 1, 1, 1, 9}});
  EXPECT_TRUE(at::equal(document_starts(tokens, 9), rows({{0, 0, 0, 3, 3, 3, 3, 7, 8}, {0, 1, 1, 1, 1, 1, 1, 1, 1}})));
  EXPECT_TRUE(at::equal(document_starts(tokens, 7), at::zeros({2, 9}, at::kLong)));
}

TEST(DocumentStarts, OfNothingAreNone) { EXPECT_EQ(document_starts(at::zeros({0, 5}, at::kLong), 9).numel(), 0); }

// Every other column of a tensor.
TEST(DocumentStarts, TakeAnyStrides) {
  const at::Tensor tokens = rows({{1, 9, 9, 1, 2, 9}}).slice(1, 0, std::nullopt, 2);
  EXPECT_TRUE(at::equal(document_starts(tokens, 9), rows({{0, 0, 2}})));
}

}  // namespace
}  // namespace titan::data
