#include "titan/kernels/segments.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "tests/support/segments_mask.h"
#include "tests/support/tensors.h"

namespace titan::kernels {
namespace {

at::Tensor tensor(const std::vector<int32_t>& values) { return at::tensor(values, at::kInt); }

TEST(DocumentSegments, AreTheDocumentsOfEachRow) {
  // 1, 3 and 2 tokens; one document; 5 and 1.
  const at::Tensor first_key =
      at::tensor({0, 1, 1, 1, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}, at::kLong).view({3, 6});
  const Segments segments = document_segments(first_key);
  EXPECT_TRUE(at::equal(segments.query_starts, tensor({0, 1, 4, 0, 6, 6, 0, 5, 6}).view({3, 3})));
  EXPECT_TRUE(at::equal(segments.key_starts, segments.query_starts));
  EXPECT_EQ(segments.longest, 6);
  EXPECT_TRUE(at::equal(joined_starts(segments.query_starts, 6), tensor({0, 1, 4, 6, 12, 12, 12, 17, 18, 18})));
  const at::Tensor keys = at::arange(6), causal = keys <= keys.unsqueeze(1);
  EXPECT_TRUE(at::equal(test::seen_by(segments, 6, 6, /*is_causal=*/true), causal & (keys >= first_key.unsqueeze(2))));
}

TEST(DocumentSegments, AreNeverTooShort) {
  for (int64_t last = 0; last < 5; ++last) {
    at::Tensor first_key = at::zeros({1, 5}, at::kLong);
    if (last > 0) first_key.narrow(1, last, 5 - last).fill_(last);
    EXPECT_EQ(document_segments(first_key).longest, last == 0 ? 5 : std::max(last, 5 - last));
  }
}

// The first document of the queries begins at key 2; before all keys; after them.
TEST(ReachingSegments, AreThoseOfTheDocumentThatReachesTheQueries) {
  const at::Tensor first_key = at::tensor({2, 2, 2, 7, 0, 7, 7, 7, 7, 7, 7, 7}, at::kLong).view({3, 4});
  const Segments segments = reaching_segments(first_key, 7);
  EXPECT_TRUE(at::equal(test::seen_by(segments, 4, 7, /*is_causal=*/false), at::arange(7) >= first_key.unsqueeze(2)));
}

}  // namespace
}  // namespace titan::kernels
