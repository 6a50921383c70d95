// The threads behind DataLoader. Each takes a chunk of documents from the source, parses and tokenizes it, and commits
// it; chunks are committed in the order in which they were taken, so what comes out does not depend on the number of
// threads. What a commit brings (rows, the end of an epoch, skipped lines, an error) queues up as items in stream
// order; a full queue makes the threads wait.
//
// A resumed run reads and tokenizes what lies before its first sample as well, but only to count tokens: packing needs
// to know where documents end. At most one epoch is counted so; then its number of tokens is known, whole epochs are
// left out, and the rest of the epoch that the run stopped in is counted.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "titan/data/data_loader.h"
#include "titan/data/document_source.h"
#include "titan/data/json_text.h"
#include "titan/data/sample_packer.h"

namespace titan::data {

// One thing that happens in the stream.
struct Item {
  enum class Kind {
    kRow,           // `row`: a sample of this rank, or padding
    kSkippedLines,  // `count` of them; `message` is about the first
    kResumed,       // the first sample of a resumed run begins here, in `epoch`
    kEpochEnd,      // `epoch` begins
    kEnd,           // of a finite dataset
    kError,
  };
  Kind kind = Kind::kRow;
  Row row;
  std::string message;
  int64_t count = 0;
  int64_t epoch = 0;
  std::exception_ptr error;
};

class Pipeline {
 public:
  // Starts the threads.
  Pipeline(std::vector<DatasetFile> files, TextDatasetOptions dataset, SampleSlice slice, Tokenizer tokenizer);
  // Stops and joins them.
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // The next item; blocks until there is one. After kEnd and kError there is none: do not ask.
  Item pop();

 private:
  struct Chunk;

  void work(const std::stop_token& stop);
  Chunk take_chunk(const std::stop_token& stop);
  void tokenize(Chunk& chunk, JsonText& json);
  std::string describe(const RawDocument& document, std::string_view problem) const;
  void commit(Chunk chunk, const std::stop_token& stop);

  // With mutex_ held.
  void add_tokens(const std::vector<int32_t>& tokens);
  void finish_epoch();
  void check_tokens(int64_t num_epoch_tokens) const;
  void push(Item item);

  const std::vector<DatasetFile> files_;
  const TextDatasetOptions dataset_;
  const SampleSlice slice_;
  const Tokenizer tokenizer_;
  const int64_t max_ready_rows_;

  // The source's side. Held while documents are read; taken before mutex_, never after.
  std::mutex source_mutex_;
  std::unique_ptr<DocumentSource> source_;
  int64_t num_chunks_taken_ = 0;
  bool at_epoch_end_ = true;

  // The queue's side.
  std::mutex mutex_;
  std::condition_variable_any changed_;
  SamplePacker packer_;
  std::deque<Item> items_;
  int64_t num_ready_rows_ = 0;
  int64_t num_chunks_committed_ = 0;
  bool finished_ = false;  // kEnd or kError is queued
  int64_t epoch_ = 0;      // of what is committed next
  int64_t num_epoch_tokens_ = 0;
  bool resuming_;  // slice_.first_sample has not come

  int64_t num_skipped_lines_ = 0;

  std::atomic<int64_t> num_described_lines_ = 0;

  std::vector<std::jthread> threads_;
};

}  // namespace titan::data
