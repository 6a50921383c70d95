#include "titan/data/sample_packer.h"

#include <gtest/gtest.h>

#include <numeric>

namespace titan::data {
namespace {

std::vector<int32_t> tokens_up_to(int32_t size) {
  std::vector<int32_t> tokens(size);
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

// First tokens of the rows: sample k of seq_len 3 begins with 4 k.
std::vector<int32_t> first_tokens(const std::vector<Row>& rows) {
  std::vector<int32_t> first;
  for (const Row& row : rows) {
    EXPECT_EQ(row.size(), 4u);
    first.push_back(row.at(0));
  }
  return first;
}

TEST(SamplePacker, CutsEverySeqLenPlusOneTokensWhateverThePieces) {
  const std::vector<int32_t> tokens = tokens_up_to(23);
  for (size_t piece = 1; piece <= 23; ++piece) {
    SamplePacker packer(3, {.samples_per_step = 1});
    std::vector<Row> rows;
    for (size_t at = 0; at < tokens.size(); at += piece) {
      packer.add(std::span(tokens).subspan(at, std::min(piece, tokens.size() - at)), rows);
    }
    ASSERT_EQ(rows.size(), 5u);
    EXPECT_EQ(rows[4], (Row{16, 17, 18, 19}));
    EXPECT_EQ(packer.num_samples(), 5);
  }
}

TEST(SamplePacker, KeepsTheRanksPartOfEachStep) {
  SamplePacker packer(3, {.samples_per_step = 5, .rank_begin = 2, .rank_count = 2});
  std::vector<Row> rows;
  packer.add(tokens_up_to(4 * 10), rows);
  EXPECT_EQ(first_tokens(rows), (std::vector<int32_t>{8, 12, 28, 32}));
}

TEST(SamplePacker, ResumedRanksSkipToTheirFirstSample) {
  SamplePacker packer(3, {.samples_per_step = 5, .rank_begin = 2, .rank_count = 2, .first_sample = 5});
  EXPECT_EQ(packer.num_tokens_to_skip(), 20);
  packer.skip(18);
  EXPECT_EQ(packer.num_tokens_to_skip(), 2);
  std::vector<Row> rows;
  packer.add(std::vector<int32_t>{18, 19}, rows);
  EXPECT_EQ(packer.num_tokens_to_skip(), 0);
  std::vector<int32_t> rest = tokens_up_to(40);
  packer.add(std::span(rest).subspan(20), rows);
  EXPECT_EQ(first_tokens(rows), (std::vector<int32_t>{28, 32}));
}

TEST(SamplePacker, MissingRowsCompleteTheLastStep) {
  for (int64_t num_samples = 0; num_samples <= 10; ++num_samples) {
    int64_t num_rows = 0;
    for (int64_t rank = 0; rank < 2; ++rank) {
      SamplePacker packer(3, {.samples_per_step = 4, .rank_begin = 2 * rank, .rank_count = 2});
      std::vector<Row> rows;
      packer.add(tokens_up_to(static_cast<int32_t>(4 * num_samples + 2)), rows);
      EXPECT_EQ((static_cast<int64_t>(rows.size()) + packer.num_missing_rows()) % 2, 0);
      num_rows += static_cast<int64_t>(rows.size()) + packer.num_missing_rows();
    }
    EXPECT_EQ(num_rows, (num_samples + 3) / 4 * 4) << num_samples;
  }
}

}  // namespace
}  // namespace titan::data
