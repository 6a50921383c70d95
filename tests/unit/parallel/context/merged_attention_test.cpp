#include "titan/parallel/context/merged_attention.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"
#include "titan/kernels/attention.h"

namespace titan::parallel {
namespace {

using test::random;
using test::relative_difference;

// 11 queries at the end of 17 keys, of which they see those up to their own position; in blocks of uneven size.
TEST(MergedAttention, OfBlocksIsThatOfAllKeys) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor query = random({2, 11, 4, 8}, 1).to(dtype), key = random({2, 17, 2, 8}, 2).to(dtype),
                     value = random({2, 17, 2, 6}, 3).to(dtype);
    const auto [out, logsumexp] = kernels::attention_forward(query, key, value, {.is_causal = true, .query_offset = 6});
    MergedAttention merged;
    for (const auto& [begin, size] : {std::pair{12, 5}, {0, 7}, {7, 5}}) {
      const auto [part, part_logsumexp] =
          kernels::attention_forward(query, key.narrow(1, begin, size), value.narrow(1, begin, size),
                                     {.is_causal = true, .query_offset = 6 - begin});
      merged.add({0, 11}, part.clone(), part_logsumexp.clone());
    }
    EXPECT_LT(relative_difference(merged.out(dtype), out), 1e-6);
    EXPECT_LT(relative_difference(merged.logsumexp(), logsumexp), 1e-6);
  }
}

TEST(MergedAttention, OfSomeRowsLeavesTheOthersAlone) {
  const at::Tensor query = random({1, 6, 2, 4}, 1), key = random({1, 9, 2, 4}, 2);
  const auto first = [&] {
    MergedAttention merged;
    const auto [out, logsumexp] = kernels::attention_forward(query, key.narrow(1, 0, 4), key.narrow(1, 0, 4));
    merged.add({0, 6}, out, logsumexp);
    return merged;
  };
  MergedAttention merged = first();
  const auto [out, logsumexp] =
      kernels::attention_forward(query.narrow(1, 2, 3), key.narrow(1, 4, 5), key.narrow(1, 4, 5));
  merged.add({2, 3}, out, logsumexp);
  const auto whole = std::get<0>(kernels::attention_forward(query, key, key));
  EXPECT_LT(relative_difference(merged.out(at::kFloat).narrow(1, 2, 3), whole.narrow(1, 2, 3)), 1e-6);
  for (const auto& [begin, size] : {std::pair{0, 2}, {5, 1}}) {
    EXPECT_TRUE(
        at::equal(merged.out(at::kFloat).narrow(1, begin, size), first().out(at::kFloat).narrow(1, begin, size)));
  }
}

// Seen nowhere: 0 and -infinity, not NaN. Seen in one block only: that block's.
TEST(MergedAttention, OfRowsThatSeeNoKeyIsZero) {
  const at::Tensor query = random({1, 3, 1, 4}, 1), key = random({1, 2, 1, 4}, 2);
  MergedAttention merged;
  for (const int64_t offset : {-2, -1}) {  // the first sees row 2's key 0; the second keys 0 (row 1), 0 and 1 (row 2)
    const auto [out, logsumexp] =
        kernels::attention_forward(query, key, key, {.is_causal = true, .query_offset = offset});
    merged.add({0, 3}, out, logsumexp);
  }
  EXPECT_TRUE(at::equal(merged.out(at::kFloat)[0][0], at::zeros({1, 4})));
  EXPECT_LT(relative_difference(merged.out(at::kFloat)[0][1], key[0][0]), 1e-6);
  EXPECT_TRUE(merged.logsumexp()[0][0][0].isneginf().item<bool>());
}

}  // namespace
}  // namespace titan::parallel
