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

// Which samples the rows say they are. Of seq_len 3, sample k is the tokens 4 k ... 4 k + 3.
std::vector<int64_t> samples_of(const std::vector<Row>& rows) {
  std::vector<int64_t> samples;
  for (const Row& row : rows) {
    const auto first = static_cast<int32_t>(4 * row.sample);
    EXPECT_EQ(row.tokens, (std::vector<int32_t>{first, first + 1, first + 2, first + 3}));
    samples.push_back(row.sample);
  }
  return samples;
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
    EXPECT_EQ(samples_of(rows), (std::vector<int64_t>{0, 1, 2, 3, 4}));
    EXPECT_EQ(packer.num_samples(), 5);
  }
}

TEST(SamplePacker, KeepsTheRanksPartOfEachStep) {
  SamplePacker packer(3, {.samples_per_step = 5, .rank_begin = 2, .rank_count = 2});
  std::vector<Row> rows;
  packer.add(tokens_up_to(4 * 10), rows);
  EXPECT_EQ(samples_of(rows), (std::vector<int64_t>{2, 3, 7, 8}));
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
  EXPECT_EQ(samples_of(rows), (std::vector<int64_t>{7, 8}));
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
