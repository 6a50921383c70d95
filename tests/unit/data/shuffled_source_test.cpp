#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "tests/unit/data/text_on_disk.h"
#include "titan/data/document_source.h"

namespace titan::data {
namespace {

TEST(ShuffledOrder, HoldsEachNumberOnceAndHangsOnSeedAndEpochOnly) {
  for (const uint32_t size : {0u, 1u, 2u, 1000u}) {
    const auto order = shuffled_order(size, 7, 3);
    EXPECT_EQ(std::set<uint32_t>(order.begin(), order.end()).size(), size);
    EXPECT_EQ(order, shuffled_order(size, 7, 3));
  }
  EXPECT_NE(shuffled_order(1000, 7, 3), shuffled_order(1000, 7, 4));
  EXPECT_NE(shuffled_order(1000, 7, 3), shuffled_order(1000, 8, 3));
  EXPECT_NE(shuffled_order(1000, 7, 4), shuffled_order(1000, 8, 3));
}

// A resumed run must find the order that an older build made.
TEST(ShuffledOrder, StaysAsItIs) {
  EXPECT_EQ(shuffled_order(8, 42, 0), (std::vector<uint32_t>{4, 2, 5, 1, 7, 0, 6, 3}));
  EXPECT_EQ(shuffled_order(8, 42, 1), (std::vector<uint32_t>{6, 1, 3, 7, 5, 2, 0, 4}));
}

// 24 orders, 24 000 draws: each is expected 1000 times, with a standard deviation of 31. The seeds are fixed.
TEST(ShuffledOrder, EveryOrderIsEquallyLikely) {
  std::map<std::vector<uint32_t>, int> counts;
  for (int64_t epoch = 0; epoch < 24'000; ++epoch) ++counts[shuffled_order(4, 1, epoch)];
  EXPECT_EQ(counts.size(), 24u);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 155);
}

std::vector<std::string> documents_of_epoch(DocumentSource& source, int64_t epoch) {
  std::vector<std::string> documents;
  source.start_epoch(epoch);
  for (RawDocument document; source.next(document);) documents.push_back(document.bytes);
  return documents;
}

std::unique_ptr<DocumentSource> source_of(const TemporaryFolder& folder, bool shuffle,
                                          int64_t max_document_bytes = 1 << 20) {
  return make_document_source(list_dataset_files(folder.path(), "key"),
                              {.shuffle = shuffle, .seed = 5, .max_document_bytes = max_document_bytes}, {});
}

// Plain, gzip, zstd, a byte order mark, "\r\n", blank lines, no last newline, a line of several pieces, an empty file.
void write_all_kinds(const TemporaryFolder& folder) {
  folder.write("a.jsonl", "\xef\xbb\xbf{\"a\": 1}\r\n\n  \r\n{\"a\": 2}\n" + std::string(50'000, 'x') + "\r\nend");
  folder.write("b.jsonl", gzipped("{\"b\": 1}\n\n{\"b\": 2}\n"));
  folder.write("c.jsonl", "");
  folder.write("d.jsonl", zstd_packed("{\"d\": 1}\n{\"d\": 2}"));
}

TEST(ShuffledSource, BringsTheDocumentsOfFileOrderInAnotherOrder) {
  const TemporaryFolder folder;
  write_all_kinds(folder);
  auto in_order = documents_of_epoch(*source_of(folder, false), 0);
  ASSERT_EQ(in_order.size(), 8u);
  const auto shuffled = source_of(folder, true);
  auto first = documents_of_epoch(*shuffled, 0), second = documents_of_epoch(*shuffled, 1);
  EXPECT_NE(first, in_order);
  EXPECT_NE(first, second);
  EXPECT_EQ(documents_of_epoch(*source_of(folder, true), 1), second);
  for (auto* documents : {&in_order, &first, &second}) std::sort(documents->begin(), documents->end());
  EXPECT_EQ(first, in_order);
  EXPECT_EQ(second, in_order);
}

TEST(ShuffledSource, TellsTooLongLinesAsFileOrderDoes) {
  const TemporaryFolder folder;
  write_all_kinds(folder);
  for (const bool shuffle : {false, true}) {
    const auto source = source_of(folder, shuffle, 1000);
    source->start_epoch(0);
    int num_too_long = 0, num_documents = 0;
    for (RawDocument document; source->next(document); ++num_documents) num_too_long += document.too_long;
    EXPECT_EQ(num_too_long, 1);
    EXPECT_EQ(num_documents, 8);
  }
}

TEST(ShuffledSource, OffsetsLeadToLines) {
  const TemporaryFolder folder;
  write_all_kinds(folder);
  const auto files = list_dataset_files(folder.path(), "key");
  const auto source = source_of(folder, true);
  source->start_epoch(0);
  std::map<std::string, int64_t> lines;
  for (RawDocument document; source->next(document);) {
    lines[document.bytes.substr(0, 20)] = find_line(files[document.file_index], document.offset, 1 << 20);
  }
  EXPECT_EQ(lines.at("{\"a\": 1}"), 1);
  EXPECT_EQ(lines.at("{\"a\": 2}"), 4);
  EXPECT_EQ(lines.at("end"), 6);
  EXPECT_EQ(lines.at("{\"b\": 2}"), 3);
  EXPECT_EQ(lines.at("{\"d\": 2}"), 2);
}

// More files than it keeps open.
TEST(ShuffledSource, ReadsFromManyFiles) {
  const TemporaryFolder folder;
  for (int i = 0; i < 300; ++i) folder.write(std::to_string(i) + ".json", json_lines({"x" + std::to_string(i), "y"}));
  const auto source = source_of(folder, true);
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    const auto documents = documents_of_epoch(*source, epoch);
    EXPECT_EQ(std::set<std::string>(documents.begin(), documents.end()).size(), 301u);
  }
}

TEST(ShuffledSource, LeavesNothingInTheTemporaryFolder) {
  const TemporaryFolder folder, temporary;
  write_all_kinds(folder);
  setenv("TMPDIR", temporary.path().c_str(), 1);
  const auto source = source_of(folder, true);
  documents_of_epoch(*source, 0);
  EXPECT_TRUE(std::filesystem::is_empty(temporary.path()));
  setenv("TMPDIR", "/nowhere", 1);
  const std::string message = message_of<c10::Error>([&] { documents_of_epoch(*source_of(folder, true), 0); });
  unsetenv("TMPDIR");
  EXPECT_EQ(
      message,
      "data.shuffle: cannot create a temporary file in /nowhere: No such file or directory; set TMPDIR to a folder "
      "with room for the unpacked text");
}

}  // namespace
}  // namespace titan::data
