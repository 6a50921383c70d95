// Datasets for tests: files of any content in a folder that goes away, a tokenizer that anybody can do in their head,
// and what the samples must be, worked out the plain way.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "titan/data/data_loader.h"

namespace titan::data {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = testing::TempDir() + "titan-data-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

inline std::string gzipped(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

inline std::string zstd_packed(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  return packed;
}

inline std::string json_lines(const std::vector<std::string>& documents) {
  std::string lines;
  for (const std::string& document : documents) lines += nlohmann::json{{"text", document}}.dump() + "\n";
  return lines;
}

// A token a byte, between bos = 256 and eos = 257.
inline std::vector<int32_t> encode_bytes(std::string_view document) {
  std::vector<int32_t> tokens{256};
  for (const char byte : document) tokens.push_back(static_cast<unsigned char>(byte));
  tokens.push_back(257);
  return tokens;
}

// num_documents texts of 0 to 39 letters, all different.
inline std::vector<std::string> some_documents(int num_documents) {
  std::vector<std::string> documents;
  for (int i = 0; i < num_documents; ++i) {
    documents.push_back(i % 7 == 3 ? ""
                                   : std::to_string(i) + std::string((i * 13) % 37, static_cast<char>('a' + i % 26)));
  }
  return documents;
}

using Rows = std::vector<std::vector<int64_t>>;

// The first num_rows samples of the documents, looped for ever: seq_len + 1 tokens each.
inline Rows expected_rows(const std::vector<std::string>& documents, int64_t seq_len, int64_t num_rows) {
  std::vector<int64_t> tokens;
  for (size_t i = 0; static_cast<int64_t>(tokens.size()) < num_rows * (seq_len + 1); ++i) {
    for (const int32_t token : encode_bytes(documents[i % documents.size()])) tokens.push_back(token);
  }
  Rows rows;
  for (int64_t i = 0; i < num_rows; ++i) {
    rows.emplace_back(tokens.begin() + i * (seq_len + 1), tokens.begin() + (i + 1) * (seq_len + 1));
  }
  return rows;
}

// The rows of a batch put together again. That labels are the input shifted by one is part of the claim, and that there
// is an index for each row.
inline void append_rows(const Batch& batch, Rows& rows) {
  EXPECT_EQ(batch.samples.size(), static_cast<size_t>(batch.input.size(0)));
  const int64_t seq_len = batch.input.size(1);
  const int64_t* input = batch.input.const_data_ptr<int64_t>();
  const int64_t* labels = batch.labels.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < batch.input.size(0); ++i, input += seq_len, labels += seq_len) {
    rows.emplace_back(input, input + seq_len);
    rows.back().push_back(labels[seq_len - 1]);
    for (int64_t j = 0; j + 1 < seq_len; ++j) EXPECT_EQ(labels[j], input[j + 1]);
  }
}

// At most num_batches batches; fewer where the dataset ends.
inline Rows read_rows(DataLoader& loader, int64_t num_batches) {
  Rows rows;
  for (int64_t i = 0; i < num_batches; ++i) {
    const std::optional<Batch> batch = loader.next();
    if (!batch) break;
    append_rows(*batch, rows);
  }
  return rows;
}

// What `action` throws, without a backtrace; empty if it throws nothing.
template <class Exception, class Action>
std::string message_of(Action&& action) {
  try {
    action();
  } catch (const Exception& error) {
    return error.what_without_backtrace();
  }
  return {};
}

}  // namespace titan::data
