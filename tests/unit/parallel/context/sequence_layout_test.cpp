#include "titan/parallel/context/sequence_layout.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "tests/support/segments_mask.h"
#include "tests/support/tensors.h"

namespace titan::parallel {
namespace {

class SequenceLayoutTest : public testing::TestWithParam<std::tuple<int64_t, SequenceOrder, int64_t>> {
 protected:
  int64_t num_ranks() const { return std::get<0>(GetParam()); }
  SequenceLayout layout() const { return {num_ranks(), std::get<1>(GetParam())}; }
  int64_t seq_len() const { return layout().num_pieces() * std::get<2>(GetParam()); }
  int64_t local_len() const { return seq_len() / num_ranks(); }
};

at::Tensor rows_of(const at::Tensor& x, Rows rows) { return x.narrow(0, rows.begin, rows.size); }

TEST_P(SequenceLayoutTest, EachTokenIsOfOneRankAndInOrder) {
  std::vector<at::Tensor> all;
  for (int64_t rank = 0; rank < num_ranks(); ++rank) {
    all.push_back(layout().tokens_of(rank, seq_len()));
    EXPECT_EQ(all.back().size(0), local_len());
    EXPECT_TRUE(at::equal(std::get<0>(all.back().sort()), all.back()));
  }
  EXPECT_TRUE(at::equal(std::get<0>(at::cat(all).sort()), at::arange(seq_len())));
}

TEST_P(SequenceLayoutTest, MeetingsMakeUpTheCausalMask) {
  for (int64_t q = 0; q < num_ranks(); ++q) {
    for (int64_t k = 0; k < num_ranks(); ++k) {
      const at::Tensor query_tokens = layout().tokens_of(q, seq_len()), key_tokens = layout().tokens_of(k, seq_len());
      at::Tensor seen = at::zeros({local_len(), local_len()}, at::kBool);
      if (const auto meeting = layout().meeting(q, k, local_len())) {
        const auto [queries, keys, is_causal] = *meeting;
        at::Tensor part = at::ones({queries.size, keys.size}, at::kBool);
        if (is_causal) part = part.tril();
        seen.narrow(0, queries.begin, queries.size).narrow(1, keys.begin, keys.size).copy_(part);
      }
      EXPECT_TRUE(at::equal(seen, key_tokens.unsqueeze(0) <= query_tokens.unsqueeze(1))) << q << " meets " << k;
    }
  }
}

TEST_P(SequenceLayoutTest, CountsTheKeysBeforeEachToken) {
  const at::Tensor tokens = at::arange(-2, seq_len() + 3);
  for (int64_t rank = 0; rank < num_ranks(); ++rank) {
    const at::Tensor own = layout().tokens_of(rank, seq_len());
    for (const Rows keys : {Rows{0, local_len()}, Rows{0, local_len() / 2}, Rows{local_len() / 3, local_len() / 2}}) {
      const at::Tensor expected = (rows_of(own, keys).unsqueeze(0) < tokens.unsqueeze(1)).sum(1);
      EXPECT_TRUE(at::equal(layout().num_keys_before(tokens, rank, keys, local_len()), expected)) << rank;
    }
  }
}

// In each meeting, documents put as segments are what they are put as first keys.
TEST_P(SequenceLayoutTest, MeetingsHaveTheDocumentsSegments) {
  at::Tensor first_token = at::zeros({3, seq_len()}, at::kLong);
  const auto begin_document = [&](int64_t row, int64_t token) {
    if (token < seq_len()) first_token[row].narrow(0, token, seq_len() - token).fill_(token);
  };
  for (int64_t token = 1; token < seq_len(); token += token % 5 + 1) begin_document(0, token);
  begin_document(1, seq_len() / 2 + 1);
  for (int64_t q = 0; q < num_ranks(); ++q) {
    const at::Tensor own = first_token.index_select(1, layout().tokens_of(q, seq_len()));
    for (int64_t k = 0; k < num_ranks(); ++k) {
      const auto meeting = layout().meeting(q, k, local_len());
      if (!meeting.has_value()) continue;
      const auto [queries, keys, is_causal] = *meeting;
      const at::Tensor first_key =
          layout().num_keys_before(own.narrow(1, queries.begin, queries.size), k, keys, local_len());
      at::Tensor seen = at::arange(keys.size) >= first_key.unsqueeze(2);
      if (is_causal) seen = seen.tril();
      const kernels::Segments segments =
          is_causal ? kernels::document_segments(own) : kernels::reaching_segments(first_key, keys.size);
      EXPECT_TRUE(at::equal(test::seen_by(segments, queries.size, keys.size, is_causal), seen)) << q << " meets " << k;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SequenceLayoutTest,
                         testing::Combine(testing::Values(1, 2, 3, 5),
                                          testing::Values(SequenceOrder::kHeadTail, SequenceOrder::kInOrder),
                                          testing::Values(1, 3)));

// Pairs of a query and a key that it sees, of each rank.
std::vector<int64_t> work_of_ranks(const SequenceLayout& layout, int64_t seq_len) {
  std::vector<int64_t> work;
  const int64_t num_ranks = layout.num_ranks(), local_len = seq_len / num_ranks;
  for (int64_t q = 0; q < num_ranks; ++q) {
    int64_t pairs = 0;
    for (int64_t k = 0; k < num_ranks; ++k) {
      const auto meeting = layout.meeting(q, k, local_len);
      if (!meeting.has_value()) continue;
      const int64_t rectangle = meeting->queries.size * meeting->keys.size;
      pairs += meeting->is_causal ? (rectangle + meeting->queries.size) / 2 : rectangle;
    }
    work.push_back(pairs);
  }
  return work;
}

// Exactly equal, and each block that is not a rank's own is one half of the others' square: no rank waits for another.
TEST(HeadTail, GivesEachRankTheSameWork) {
  for (const int64_t num_ranks : {2, 3, 8}) {
    constexpr int64_t kPiece = 7;
    const int64_t seq_len = 2 * num_ranks * kPiece;
    const auto work = work_of_ranks({num_ranks, SequenceOrder::kHeadTail}, seq_len);
    for (const int64_t pairs : work) EXPECT_EQ(pairs, seq_len * (seq_len + 1) / 2 / num_ranks) << num_ranks;
    const auto in_order = work_of_ranks({num_ranks, SequenceOrder::kInOrder}, seq_len);
    EXPECT_GT(in_order.back(), in_order.front() * (2 * num_ranks - 2));
  }
}

TEST(SequenceLayouts, RefuseALengthThatCannotBeDealt) {
  EXPECT_THROW(SequenceLayout(2, SequenceOrder::kHeadTail).tokens_of(0, 6), c10::ValueError);
  EXPECT_THROW(SequenceLayout(3, SequenceOrder::kInOrder).tokens_of(0, 8), c10::ValueError);
  EXPECT_EQ(SequenceLayout(2, SequenceOrder::kInOrder).tokens_of(1, 6).size(0), 3);
}

}  // namespace
}  // namespace titan::parallel
