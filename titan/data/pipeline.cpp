#include "titan/data/pipeline.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "titan/data/json_text.h"

namespace titan::data {
namespace {

// A chunk is big enough to make locks cheap and small enough for the first batch to come soon.
constexpr size_t kChunkDocuments = 64;
constexpr size_t kChunkBytes = size_t{1} << 16;
constexpr int64_t kMaxReadyTokens = int64_t{1} << 24;
constexpr int64_t kMaxMessages = 10;  // skipped lines told one by one; more are only counted

// Two steps ahead, but not over 64 MiB.
int64_t rows_to_hold(const TextDatasetOptions& dataset, const SampleSlice& slice) {
  return std::clamp<int64_t>(kMaxReadyTokens / (dataset.seq_len + 1), 1, 2 * slice.rank_count);
}

}  // namespace

struct Pipeline::Chunk {
  struct Document {
    RawDocument raw;
    std::vector<int32_t> tokens;
    bool is_broken = false;  // and skipped; `message` says why, if that is to be told
    std::string message;
  };
  int64_t index = 0;
  std::vector<Document> documents;
  bool ends_epoch = false;
  std::exception_ptr error;  // after the documents
};

Pipeline::Pipeline(std::vector<DatasetFile> files, TextDatasetOptions dataset, SampleSlice slice, Tokenizer tokenizer)
    : files_(std::move(files)),
      dataset_(std::move(dataset)),
      slice_(slice),
      tokenizer_(std::move(tokenizer)),
      max_ready_rows_(rows_to_hold(dataset_, slice_)),
      packer_(dataset_.seq_len, slice_),
      resuming_(slice_.first_sample > 0) {
  for (int64_t i = 0; i < dataset_.num_threads; ++i) {
    threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
  }
}

Pipeline::~Pipeline() {
  for (std::jthread& thread : threads_) thread.request_stop();
}

Item Pipeline::pop() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !items_.empty(); });
  Item item = std::move(items_.front());
  items_.pop_front();
  if (item.kind == Item::Kind::kRow) --num_ready_rows_;
  lock.unlock();
  changed_.notify_all();
  return item;
}

void Pipeline::work(const std::stop_token& stop) {
  JsonText json;
  while (!stop.stop_requested()) {
    Chunk chunk = take_chunk(stop);
    if (chunk.documents.empty() && !chunk.ends_epoch && !chunk.error) return;  // finished
    tokenize(chunk, json);
    commit(std::move(chunk), stop);
  }
}

// An empty chunk when there is nothing left to do. Errors of the source travel in the chunk, so that the samples
// before them still come out.
Pipeline::Chunk Pipeline::take_chunk(const std::stop_token& stop) {
  std::lock_guard source_lock(source_mutex_);
  // 1. After the end of an epoch, wait for its tokens to be counted: which epoch is next hangs on that.
  int64_t epoch = 0;
  {
    std::unique_lock lock(mutex_);
    if (at_epoch_end_) {
      changed_.wait(lock, stop, [this] { return finished_ || num_chunks_committed_ == num_chunks_taken_; });
    }
    if (finished_ || stop.stop_requested()) return {};
    epoch = epoch_;
  }
  // 2. Read.
  Chunk chunk;
  chunk.index = num_chunks_taken_++;
  try {
    if (!source_) source_ = make_document_source(files_, dataset_, stop);
    if (at_epoch_end_) source_->start_epoch(epoch);
    at_epoch_end_ = false;
    for (size_t bytes = 0; chunk.documents.size() < kChunkDocuments && bytes < kChunkBytes;) {
      RawDocument document;
      if (!source_->next(document)) {
        chunk.ends_epoch = true;
        at_epoch_end_ = true;
        break;
      }
      bytes += document.bytes.size();
      chunk.documents.push_back({.raw = std::move(document)});
    }
  } catch (...) {
    chunk.error = std::current_exception();
    at_epoch_end_ = true;  // nobody reads on: the next to come waits until the error is queued
  }
  return chunk;
}

// No lock is held. Ends the chunk where something goes wrong.
void Pipeline::tokenize(Chunk& chunk, JsonText& json) {
  size_t num_done = 0;
  try {
    for (; num_done < chunk.documents.size(); ++num_done) {
      Chunk::Document& document = chunk.documents[num_done];
      RawDocument& raw = document.raw;
      // 1. The text.
      JsonText::Result result;
      if (raw.too_long) {
        result.problem = fmt::format("has more than {} bytes", dataset_.max_document_bytes);
      } else if (files_[static_cast<size_t>(raw.file_index)].format == FileFormat::kJsonLines) {
        result = json.read(raw.bytes);
      } else if (is_utf8(raw.bytes)) {
        result.text = raw.bytes;
      } else {
        result.problem = "is not UTF-8";
      }
      // 2. Its tokens.
      if (result.problem.empty()) {
        document.tokens = tokenizer_(result.text);
      } else {
        TORCH_CHECK_VALUE(dataset_.on_error == OnError::kSkip, describe(raw, result.problem),
                          R"(; mend it, or set data.on_error = "skip")");
        document.is_broken = true;
        // Under shuffle, finding the line means reading the file: only for lines that are told.
        if (num_described_lines_++ < kMaxMessages) document.message = describe(raw, result.problem);
      }
      std::string().swap(raw.bytes);
    }
  } catch (...) {
    chunk.documents.resize(num_done);
    chunk.error = std::current_exception();
  }
}

std::string Pipeline::describe(const RawDocument& document, std::string_view problem) const {
  const DatasetFile& file = files_[static_cast<size_t>(document.file_index)];
  if (file.format == FileFormat::kText) return fmt::format("{}: {}", file.path.string(), problem);
  const int64_t line =
      document.line > 0 ? document.line : find_line(file, document.offset, dataset_.max_document_bytes);
  return fmt::format("{}:{}: the line {}", file.path.string(), line, problem);
}

void Pipeline::commit(Chunk chunk, const std::stop_token& stop) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop, [&] {
      return finished_ || (num_chunks_committed_ == chunk.index && num_ready_rows_ < max_ready_rows_);
    });
    if (finished_ || stop.stop_requested()) return;

    for (Chunk::Document& document : chunk.documents) {
      if (document.is_broken) {
        ++num_skipped_lines_;
        push({.kind = Item::Kind::kSkippedLines, .message = std::move(document.message), .count = 1});
      } else {
        add_tokens(document.tokens);
      }
    }
    if (chunk.error) {
      push({.kind = Item::Kind::kError, .error = chunk.error});
    } else if (chunk.ends_epoch) {
      finish_epoch();
    }
    ++num_chunks_committed_;
  }
  changed_.notify_all();
}

void Pipeline::add_tokens(const std::vector<int32_t>& tokens) {
  num_epoch_tokens_ += static_cast<int64_t>(tokens.size());
  const int64_t num_skipped = std::min(packer_.num_tokens_to_skip(), static_cast<int64_t>(tokens.size()));
  packer_.skip(num_skipped);
  const auto rest = std::span(tokens).subspan(static_cast<size_t>(num_skipped));
  if (rest.empty()) return;
  if (resuming_) {
    resuming_ = false;
    push({.kind = Item::Kind::kResumed, .epoch = epoch_});
  }
  std::vector<Row> rows;
  packer_.add(rest, rows);
  for (Row& row : rows) push({.kind = Item::Kind::kRow, .row = std::move(row)});
}

void Pipeline::finish_epoch() {
  const int64_t num_tokens = std::exchange(num_epoch_tokens_, 0);
  try {
    check_tokens(num_tokens);
  } catch (...) {
    return push({.kind = Item::Kind::kError, .error = std::current_exception()});
  }
  if (!dataset_.infinite) {
    const int64_t num_missing_rows = packer_.num_missing_rows();
    for (int64_t i = 0; i < num_missing_rows; ++i) push({.kind = Item::Kind::kRow});
    return push({.kind = Item::Kind::kEnd});
  }
  ++epoch_;
  if (resuming_) {
    const int64_t num_whole_epochs = packer_.num_tokens_to_skip() / num_tokens;
    packer_.skip(num_whole_epochs * num_tokens);
    epoch_ += num_whole_epochs;
  } else {
    push({.kind = Item::Kind::kEpochEnd, .epoch = epoch_});
  }
}

void Pipeline::check_tokens(int64_t num_epoch_tokens) const {
  const std::string skipped =
      num_skipped_lines_ > 0 ? fmt::format(" ({} broken lines skipped)", num_skipped_lines_) : "";
  TORCH_CHECK_VALUE(num_epoch_tokens > 0, dataset_.key, ": ", dataset_.path.string(), " holds no tokens", skipped,
                    "; name files with text");
  TORCH_CHECK_VALUE(dataset_.infinite || num_epoch_tokens > dataset_.seq_len, dataset_.key, ": ",
                    dataset_.path.string(), " holds ", num_epoch_tokens, " tokens", skipped,
                    ", fewer than one sample of seq_len + 1 = ", dataset_.seq_len + 1,
                    "; give more text or a smaller seq_len");
}

void Pipeline::push(Item item) {
  if (item.kind == Item::Kind::kRow) ++num_ready_rows_;
  if (item.kind == Item::Kind::kEnd || item.kind == Item::Kind::kError) finished_ = true;
  // Counted lines without a message take no room of their own: there may be millions between two rows.
  if (item.kind == Item::Kind::kSkippedLines && item.message.empty() && !items_.empty() &&
      items_.back().kind == Item::Kind::kSkippedLines) {
    items_.back().count += item.count;
    return;
  }
  items_.push_back(std::move(item));
}

}  // namespace titan::data
