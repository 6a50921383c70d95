// Resuming: a loader that starts at sample k must go on exactly where one that started at 0 would be.
#include <gtest/gtest.h>

#include <atomic>

#include "tests/unit/data/text_on_disk.h"
#include "titan/data/data_loader.h"

namespace titan::data {
namespace {

constexpr int64_t kSeqLen = 16;
constexpr int64_t kSamplesPerStep = 3;

struct Case {
  std::string name;
  bool shuffle;
  bool packed;
  int64_t num_threads;
};

class Resume : public testing::TestWithParam<Case> {};

// 50 documents are about 60 samples, 20 steps: the starts lie in epochs 0 to 5, some where an epoch begins.
TEST_P(Resume, AtAnySampleContinuesBitForBit) {
  const TemporaryFolder folder;
  const std::string lines = json_lines(some_documents(50));
  const auto path = GetParam().packed ? folder.write("a.jsonl.gz", gzipped(lines)) : folder.write("a.jsonl", lines);
  const TextDatasetOptions dataset{.path = path,
                                   .seq_len = kSeqLen,
                                   .shuffle = GetParam().shuffle,
                                   .seed = 9,
                                   .num_threads = GetParam().num_threads};
  SampleSlice slice{.samples_per_step = kSamplesPerStep, .rank_count = kSamplesPerStep, .microbatch_size = 1};
  DataLoader from_start(dataset, slice, encode_bytes);
  const Rows all = read_rows(from_start, 120 * kSamplesPerStep);
  for (const int64_t first_sample : {1, 3, 6, 20, 54, 57, 58, 60, 63, 66, 121, 189, 300, 351}) {
    slice.first_sample = first_sample;
    DataLoader resumed(dataset, slice, encode_bytes);
    const Rows rest = read_rows(resumed, 3 * kSamplesPerStep);
    const auto begin = all.begin() + first_sample;
    EXPECT_EQ(rest, Rows(begin, begin + 3 * kSamplesPerStep)) << first_sample;
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, Resume,
                         testing::Values(Case{"FileOrder", false, false, 1}, Case{"Shuffled", true, false, 1},
                                         Case{"PackedShuffledTwoThreads", true, true, 2},
                                         Case{"PackedFourThreads", false, true, 4}),
                         [](const auto& info) { return info.param.name; });

TEST(ResumePosition, AtAnotherDataParallelDegreeReadsTheSameSamples) {
  const TemporaryFolder folder;
  const std::vector<std::string> documents = some_documents(50);
  const TextDatasetOptions dataset{.path = folder.write("a.jsonl", json_lines(documents)), .seq_len = kSeqLen};
  const Rows expected = expected_rows(documents, kSeqLen, 4 * 31);
  for (const int64_t rank : {0, 1}) {
    DataLoader loader(
        dataset,
        {.samples_per_step = 4, .rank_begin = 2 * rank, .rank_count = 2, .microbatch_size = 2, .first_sample = 120},
        encode_bytes);
    EXPECT_EQ(read_rows(loader, 1), Rows(expected.begin() + 120 + 2 * rank, expected.begin() + 122 + 2 * rank));
  }
}

// By the one global order, also behind an epoch that was left out.
TEST(ResumePosition, BatchesNameTheirSamples) {
  const TemporaryFolder folder;
  const TextDatasetOptions dataset{.path = folder.write("a.jsonl", json_lines(some_documents(50))), .seq_len = kSeqLen};
  for (const int64_t first : {0, 3, 120, 1200}) {
    DataLoader loader(
        dataset, {.samples_per_step = 6, .rank_begin = 2, .rank_count = 4, .microbatch_size = 2, .first_sample = first},
        encode_bytes);
    for (const int64_t sample : {first + 2, first + 4, first + 8, first + 10}) {
      EXPECT_EQ(loader.next()->samples, (std::vector<int64_t>{sample, sample + 1}));
    }
  }
}

// Whole epochs are left out once one is counted: a start a thousand epochs on reads two of them at most.
TEST(ResumePosition, FarAwayCostsTwoEpochsOfTokenizing) {
  const TemporaryFolder folder;
  const std::vector<std::string> documents = some_documents(50);
  const TextDatasetOptions dataset{.path = folder.write("a.jsonl", json_lines(documents)), .seq_len = kSeqLen};
  int64_t epoch_tokens = 0;
  for (const std::string& document : documents) epoch_tokens += static_cast<int64_t>(encode_bytes(document).size());
  std::atomic<int64_t> num_documents = 0;
  // A sample of epoch 999 + about two thirds, found by hand: sample k begins with token k (seq_len + 1).
  const int64_t sample = (999 * epoch_tokens + 2 * epoch_tokens / 3) / (kSeqLen + 1);
  DataLoader loader(dataset, {.first_sample = sample}, [&](std::string_view document) {
    ++num_documents;
    return encode_bytes(document);
  });
  const Rows rows = read_rows(loader, 1);
  EXPECT_EQ(loader.epoch(), 999);
  EXPECT_LE(num_documents, 4 * 50);  // two on the way, and what is read ahead
  const Rows expected = expected_rows(documents, kSeqLen, sample + 1);
  EXPECT_EQ(rows[0], expected.back());
}

TEST(ResumePosition, SaysWhereItContinues) {
  const TemporaryFolder folder;
  const TextDatasetOptions dataset{
      .path = folder.write("a.txt", std::string(15, 'a')), .seq_len = kSeqLen, .name = "test"};
  testing::internal::CaptureStdout();
  {
    DataLoader loader(dataset, {.samples_per_step = 2, .first_sample = 40}, encode_bytes);
    read_rows(loader, 1);
  }
  const std::string output = testing::internal::GetCapturedStdout();
  EXPECT_NE(output.find("Dataset test continues at sample 40, in epoch 40\n"), std::string::npos) << output;
  EXPECT_EQ(output.find("re-looped"), std::string::npos) << output;
}

}  // namespace
}  // namespace titan::data
