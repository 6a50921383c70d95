#include "titan/data/data_loader.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>

#include "tests/unit/data/text_on_disk.h"

namespace titan::data {
namespace {

constexpr int64_t kSeqLen = 16;

// A seq_len that no document length divides, over 50 documents of about 20 tokens.
class DataLoaderTest : public testing::Test {
 protected:
  TextDatasetOptions dataset(const std::filesystem::path& path) const {
    return {.path = path, .seq_len = kSeqLen, .name = "test", .key = "training.dataset_path"};
  }

  // What next() throws, and what the loader printed, in `output`.
  template <class Exception = c10::ValueError>
  std::string error_of(const TextDatasetOptions& options, int64_t num_batches = 1000) {
    DataLoader loader(options, {}, encode_bytes);
    return message_of<Exception>([&] { read_rows(loader, num_batches); });
  }

  const TemporaryFolder folder_;
  const std::vector<std::string> documents_ = some_documents(50);
};

TEST_F(DataLoaderTest, PacksDocumentsOverTheirEndsAndOverEpochs) {
  DataLoader loader(dataset(folder_.write("a.jsonl", json_lines(documents_))),
                    {.samples_per_step = 2, .rank_count = 2, .microbatch_size = 2}, encode_bytes);
  EXPECT_EQ(read_rows(loader, 150), expected_rows(documents_, kSeqLen, 300));
  EXPECT_GE(loader.epoch(), 3);
}

TEST_F(DataLoaderTest, ReadsAFoldersFilesOneAfterTheOtherHoweverPacked) {
  const std::vector<std::string> first(documents_.begin(), documents_.begin() + 20),
      second(documents_.begin() + 20, documents_.begin() + 21), third(documents_.begin() + 21, documents_.end());
  folder_.write("a.json", json_lines(first));
  folder_.write("b.json.gz", gzipped(json_lines(second)));
  folder_.write("b1.json", "");
  folder_.write("c.jsonl.zst", zstd_packed(json_lines(third)));
  DataLoader loader(dataset(folder_.path()), {}, encode_bytes);
  EXPECT_EQ(read_rows(loader, 120), expected_rows(documents_, kSeqLen, 120));
}

TEST_F(DataLoaderTest, ATextFileIsOneDocument) {
  const std::string text = "\r\none\n\ntwo \xc3\xa9\r\n\n";
  DataLoader loader(dataset(folder_.write("a.txt", "\xef\xbb\xbf" + text)), {}, encode_bytes);
  EXPECT_EQ(read_rows(loader, 10), expected_rows({text}, kSeqLen, 10));
}

TEST_F(DataLoaderTest, ToleratesWindowsLineEndsBlankLinesAndNoLastNewline) {
  const auto path = folder_.write("a.json", "\xef\xbb\xbf{\"text\": \"one\"}\r\n\r\n   \n{\"text\": \"two\"}");
  DataLoader loader(dataset(path), {}, encode_bytes);
  EXPECT_EQ(read_rows(loader, 10), expected_rows({"one", "two"}, kSeqLen, 10));
}

TEST_F(DataLoaderTest, NumberOfThreadsChangesNothing) {
  const std::vector<std::string> documents = some_documents(3000);
  const auto path = folder_.write("a.jsonl", json_lines(documents));
  for (const int64_t num_threads : {1, 2, 5}) {
    TextDatasetOptions options = dataset(path);
    options.num_threads = num_threads;
    DataLoader loader(options, {}, encode_bytes);
    EXPECT_EQ(read_rows(loader, 9000), expected_rows(documents, kSeqLen, 9000)) << num_threads;
  }
}

TEST_F(DataLoaderTest, RanksTogetherReadTheOneOrder) {
  const auto path = folder_.write("a.jsonl", json_lines(documents_));
  const Rows expected = expected_rows(documents_, kSeqLen, 12 * 20);
  for (const int64_t num_ranks : {1, 2, 3}) {
    const int64_t rank_count = 12 / num_ranks;
    for (int64_t rank = 0; rank < num_ranks; ++rank) {
      DataLoader loader(
          dataset(path),
          {.samples_per_step = 12, .rank_begin = rank * rank_count, .rank_count = rank_count, .microbatch_size = 2},
          encode_bytes);
      Rows mine;
      for (int64_t step = 0; step < 20; ++step) {
        const auto begin = expected.begin() + step * 12 + rank * rank_count;
        mine.insert(mine.end(), begin, begin + rank_count);
      }
      EXPECT_EQ(read_rows(loader, 20 * rank_count / 2), mine) << rank << " of " << num_ranks;
    }
  }
}

TEST_F(DataLoaderTest, BatchesAreInt64OnTheCpu) {
  DataLoader loader(dataset(folder_.write("a.jsonl", json_lines(documents_))),
                    {.samples_per_step = 6, .rank_count = 6, .microbatch_size = 3}, encode_bytes);
  const auto batch = loader.next();
  EXPECT_EQ(batch->input.sizes(), (std::vector<int64_t>{3, kSeqLen}));
  EXPECT_EQ(batch->labels.sizes(), batch->input.sizes());
  EXPECT_EQ(batch->labels.scalar_type(), at::kLong);
}

TEST_F(DataLoaderTest, ShufflesDocumentsAnewEachEpoch) {
  const std::vector<std::string> letters = {"a", "b", "c", "d", "e", "f", "g", "h"};
  TextDatasetOptions options = dataset(folder_.write("a.jsonl", json_lines(letters)));
  options.shuffle = true;
  options.seed = 3;
  options.seq_len = 3 * 8 - 1;  // one epoch a sample
  const auto epochs = [&] {
    DataLoader loader(options, {}, encode_bytes);
    return read_rows(loader, 3);
  };
  const Rows rows = epochs();
  EXPECT_EQ(rows, epochs());
  EXPECT_NE(rows[0], rows[1]);
  EXPECT_NE(rows[1], rows[2]);
  auto sorted = [](std::vector<int64_t> row) {
    std::sort(row.begin(), row.end());
    return row;
  };
  EXPECT_EQ(sorted(rows[0]), sorted(expected_rows(letters, options.seq_len, 1)[0]));
  EXPECT_EQ(sorted(rows[1]), sorted(rows[0]));
  options.seed = 4;
  EXPECT_NE(rows, epochs());
}

TEST_F(DataLoaderTest, OneLineForEachLoop) {
  TextDatasetOptions options =
      dataset(folder_.write("a.jsonl", json_lines({std::string(15, 'a')})));  // 17 tokens: a sample
  testing::internal::CaptureStdout();
  DataLoader loader(options, {}, encode_bytes);
  read_rows(loader, 4);
  const std::string output = testing::internal::GetCapturedStdout();
  int64_t num_lines = 0;
  for (size_t at = 0; (at = output.find("WARNING - Dataset test is being re-looped\n", at)) != std::string::npos; ++at)
    ++num_lines;
  EXPECT_EQ(num_lines, 3) << output;
}

// --- finite datasets ---

TEST_F(DataLoaderTest, FiniteDatasetEndsAfterItsLastWholeSample) {
  TextDatasetOptions options = dataset(folder_.write("a.jsonl", json_lines({std::string(40, 'a')})));  // 42 tokens
  options.infinite = false;
  DataLoader loader(options, {}, encode_bytes);
  EXPECT_EQ(read_rows(loader, 10), expected_rows({std::string(40, 'a')}, kSeqLen, 2));
  EXPECT_FALSE(loader.next().has_value());
  EXPECT_EQ(loader.epoch(), 0);
}

// 5 samples in steps of 4: every rank gets two batches of equal shape; what is not there is ignored.
TEST_F(DataLoaderTest, FiniteDatasetFillsTheLastStepWithIgnoredRows) {
  const std::string text(5 * 17 + 3 - 2, 'a');
  TextDatasetOptions options = dataset(folder_.write("a.txt", text));
  options.infinite = false;
  for (const int64_t rank : {0, 1}) {
    DataLoader loader(options, {.samples_per_step = 4, .rank_begin = 2 * rank, .rank_count = 2, .microbatch_size = 2},
                      encode_bytes);
    ASSERT_TRUE(loader.next().has_value());
    const auto last = loader.next();
    ASSERT_TRUE(last.has_value());
    const int64_t* labels = last->labels.const_data_ptr<int64_t>();
    EXPECT_EQ(std::count(labels, labels + 2 * kSeqLen, -100), rank == 0 ? kSeqLen : 2 * kSeqLen);
    EXPECT_EQ(labels[kSeqLen], -100);
    EXPECT_FALSE(loader.next().has_value());
  }
}

TEST_F(DataLoaderTest, FiniteDatasetOfLessThanASampleIsRefused) {
  TextDatasetOptions options = dataset(folder_.write("a.jsonl", json_lines({"abc"})));
  options.infinite = false;
  options.key = "validation.dataset_path";
  EXPECT_EQ(error_of(options),
            "validation.dataset_path: " + options.path.string() +
                " holds 5 tokens, fewer than one sample of seq_len + 1 = 17; give more text or a smaller seq_len");
}

TEST_F(DataLoaderTest, EndlessDatasetOfLessThanASampleRepeatsWithinIt) {
  DataLoader loader(dataset(folder_.write("a.jsonl", json_lines({"abc"}))), {}, encode_bytes);
  EXPECT_EQ(read_rows(loader, 5), expected_rows({"abc"}, kSeqLen, 5));
}

// --- bad input ---

TEST_F(DataLoaderTest, BrokenLineStopsAndIsNamedAfterTheSamplesBeforeIt) {
  const std::string good = json_lines({std::string(40, 'a')});
  const TextDatasetOptions options = dataset(folder_.write("a.jsonl", good + "\n" + R"({"text": 7})" + "\n" + good));
  DataLoader loader(options, {}, encode_bytes);
  EXPECT_EQ(read_rows(loader, 2).size(), 2u);
  const std::string message =
      options.path.string() +
      R"(:3: the line has a field `text` that is not a string; mend it, or set data.on_error = "skip")";
  EXPECT_EQ(message_of<c10::ValueError>([&] { loader.next(); }), message);
  EXPECT_EQ(message_of<c10::ValueError>([&] { loader.next(); }), message);
}

TEST_F(DataLoaderTest, EachKindOfBrokenLineNamesFileAndLineShuffledToo) {
  for (const bool shuffle : {false, true}) {
    for (const auto& [line, problem] : std::vector<std::pair<std::string, std::string>>{
             {"{\"text\": \"a\"", "is not JSON: "},
             {"{}", "has no field `text`"},
             {"{\"text\": null}", "has a field `text` that is not a string"},
             {"{\"text\": \"\xc3\"}", "is not UTF-8"},
             {"{\"text\": \"" + std::string(200, 'x') + "\"}", "has more than 100 bytes"},
             {"[{\"text\": \"a\"},", "is not"},
         }) {
      TextDatasetOptions options =
          dataset(folder_.write("a.jsonl", json_lines({"one", "two"}) + "\n" + line + "\n" + json_lines({"three"})));
      options.shuffle = shuffle;
      options.max_document_bytes = 100;
      const std::string message = error_of(options);
      EXPECT_TRUE(message.starts_with(options.path.string() + ":4: the line " + problem)) << message;
      EXPECT_EQ(message.find('\n'), std::string::npos);
    }
  }
}

TEST_F(DataLoaderTest, SkippedLinesAreToldAndCountedAndChangeNothingElse) {
  std::string lines;
  for (size_t i = 0; i < documents_.size(); ++i) {
    lines += json_lines({documents_[i]});
    if (i % 2 == 0) lines += "broken " + std::to_string(i) + "\n";
  }
  TextDatasetOptions options = dataset(folder_.write("a.jsonl", lines));
  options.on_error = OnError::kSkip;
  testing::internal::CaptureStdout();
  DataLoader loader(options, {}, encode_bytes);
  const Rows rows = read_rows(loader, 150);
  const std::string output = testing::internal::GetCapturedStdout();
  EXPECT_EQ(rows, expected_rows(documents_, kSeqLen, 150));
  EXPECT_GE(loader.num_skipped_lines(), 25 * loader.epoch());
  EXPECT_LE(loader.num_skipped_lines(), 25 * (loader.epoch() + 1));
  EXPECT_NE(output.find("a.jsonl:2: the line is not JSON: "), std::string::npos) << output;
  EXPECT_NE(output.find("further broken lines are skipped and counted only"), std::string::npos) << output;
  EXPECT_NE(output.find("Dataset test: 25 broken lines skipped so far"), std::string::npos) << output;
  int64_t num_told = 0;
  for (size_t at = 0; (at = output.find("; skipped\n", at)) != std::string::npos; ++at) ++num_told;
  EXPECT_EQ(num_told, 10) << output;
}

TEST_F(DataLoaderTest, ATextThatIsNotUtf8IsRefusedByName) {
  const TextDatasetOptions options = dataset(folder_.write("a.txt", "caf\xe9"));
  EXPECT_EQ(error_of(options), options.path.string() + R"(: is not UTF-8; mend it, or set data.on_error = "skip")");
}

TEST_F(DataLoaderTest, OneJsonArrayIsRefusedEvenWhereBrokenLinesAreSkipped) {
  TextDatasetOptions options = dataset(folder_.write("a.json", "\n[\n{\"text\": \"a\"},\n{\"text\": \"b\"}\n]\n"));
  for (const OnError on_error : {OnError::kStop, OnError::kSkip}) {
    for (const bool shuffle : {false, true}) {
      options.on_error = on_error;
      options.shuffle = shuffle;
      EXPECT_EQ(error_of(options),
                options.path.string() +
                    ": holds a JSON array; expected one JSON object a line; convert it, for example with jq -c '.[]'");
    }
  }
}

TEST_F(DataLoaderTest, DatasetWithoutTextIsRefused) {
  for (const char* content : {"", "\n\n \r\n"}) {
    const TextDatasetOptions options = dataset(folder_.write("a.jsonl", content));
    EXPECT_EQ(error_of(options),
              "training.dataset_path: " + options.path.string() + " holds no tokens; name files with text");
  }
  TextDatasetOptions options = dataset(folder_.write("a.jsonl", "x\ny\n"));
  options.on_error = OnError::kSkip;
  EXPECT_EQ(error_of(options), "training.dataset_path: " + options.path.string() +
                                   " holds no tokens (2 broken lines skipped); name files with text");
}

TEST_F(DataLoaderTest, RefusesAtOnceWhatCannotBeRead) {
  EXPECT_EQ(message_of<c10::ValueError>([&] { DataLoader(dataset(folder_.path()), {}, encode_bytes); }),
            "training.dataset_path: the folder " + folder_.path().string() +
                " has no *.json or *.jsonl files (also .gz, .zst); name a .txt file itself");
  const TextDatasetOptions options = dataset(folder_.write("a.jsonl", json_lines({"a"})));
  EXPECT_EQ(message_of<c10::ValueError>([&] {
              DataLoader(options, {.samples_per_step = 4, .rank_count = 3, .microbatch_size = 2}, encode_bytes);
            }),
            "DataLoader: rank_count: expected a multiple of microbatch_size (2), got 3");
  EXPECT_EQ(message_of<c10::ValueError>(
                [&] { DataLoader(options, {.samples_per_step = 4, .rank_begin = 3, .rank_count = 2}, encode_bytes); }),
            "DataLoader: rank_begin, rank_count: expected samples within the step's 4, got [3, 5)");
}

TEST_F(DataLoaderTest, FileThatVanishesStopsTheRunByName) {
  const auto path = folder_.write("a.jsonl", json_lines(documents_));
  DataLoader loader(dataset(path), {}, encode_bytes);
  read_rows(loader, 1);
  std::filesystem::remove(path);
  const std::string message = message_of<c10::Error>([&] { read_rows(loader, 1000); });
  EXPECT_EQ(message, path.string() + ": cannot read any more: No such file or directory");
}

TEST_F(DataLoaderTest, DamagedFileStopsTheRunByNameAlsoWhereLinesAreSkipped) {
  std::string packed = gzipped(json_lines(some_documents(5000)));
  TextDatasetOptions options = dataset(folder_.write("a.jsonl.gz", packed.substr(0, packed.size() / 2)));
  options.on_error = OnError::kSkip;
  EXPECT_EQ(error_of<c10::Error>(options, 100'000), options.path.string() + ": the gzip data is cut short");
}

TEST_F(DataLoaderTest, WhatTheTokenizerThrowsReachesNext) {
  const auto path = folder_.write("a.jsonl", json_lines({"a", "b", "stop", "c"}));
  DataLoader loader(dataset(path), {}, [](std::string_view document) {
    if (document == "stop") throw std::runtime_error("no such token");
    return encode_bytes(document);
  });
  EXPECT_EQ(
      [&] {
        try {
          read_rows(loader, 100);
        } catch (const std::runtime_error& error) {
          return std::string(error.what());
        }
        return std::string();
      }(),
      "no such token");
}

// --- threads ---

TEST_F(DataLoaderTest, ReadsAheadButNotWithoutBound) {
  const auto path = folder_.write("a.jsonl", json_lines(some_documents(20'000)));
  std::atomic<int64_t> num_documents = 0;
  TextDatasetOptions options = dataset(path);
  options.num_threads = 2;
  DataLoader loader(options, {}, [&](std::string_view document) {
    ++num_documents;
    return encode_bytes(document);
  });
  read_rows(loader, 100);
  // 100 rows are about 80 documents; two steps ahead, a chunk of 64 documents in each thread's hands and one committed.
  EXPECT_LT(num_documents, 80 + 6 * 64);
}

TEST_F(DataLoaderTest, GoesAwayWithoutBeingReadFromOrToTheEnd) {
  const auto path = folder_.write("a.jsonl", json_lines(some_documents(2000)));
  const auto done = std::async(std::launch::async, [&] {
    for (int64_t i = 0; i < 50; ++i) {
      TextDatasetOptions options = dataset(path);
      options.num_threads = 1 + i % 3;
      options.shuffle = i % 2 == 0;
      DataLoader loader(options, {.first_sample = i % 5 == 0 ? 100'000 : 0}, encode_bytes);
      if (i % 4 > 0 && i % 5 > 0) read_rows(loader, i);
    }
  });
  EXPECT_EQ(done.wait_for(std::chrono::seconds(60)), std::future_status::ready);
}

}  // namespace
}  // namespace titan::data
