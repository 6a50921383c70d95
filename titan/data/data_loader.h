// Feeds one rank: reads, tokenizes and packs a text dataset in threads of its own and hands out micro-batches. It moves
// nothing to a device and talks to no other rank: which samples are this rank's follows from SampleSlice alone
// ([Note: sample order] in text_dataset.h), and every rank tokenizes the whole stream.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <vector>

#include "titan/data/text_dataset.h"

namespace titan::data {

// Tensors are [microbatch_size, seq_len] int64 on the CPU.
struct Batch {
  at::Tensor input;
  at::Tensor labels;           // the input shifted by one; -100 is ignored
  at::Tensor document_starts;  // as document_starts.h says, where TextDatasetOptions::document_end is set

  // Of each row, which sample of the one global order it is; -1: padding.
  std::vector<int64_t> samples;
};

// Which samples of the one global order a rank reads: from first_sample on, each step takes the next G =
// samples_per_step. Of these the rank reads [rank_begin, rank_begin + rank_count), microbatch_size at a time, so
// rank_count must be a multiple of microbatch_size. A resumed run sets first_sample to the number of samples that are
// done; G may differ from what it was.
struct SampleSlice {
  int64_t samples_per_step = 1;
  int64_t rank_begin = 0;
  int64_t rank_count = 1;
  int64_t microbatch_size = 1;
  int64_t first_sample = 0;
};

class Pipeline;
struct Item;

class DataLoader {
 public:
  // Starts the threads; does not wait for the first batch. Throws c10::ValueError at once for a path without data
  // files and for a slice that does not add up.
  DataLoader(TextDatasetOptions dataset, SampleSlice slice, Tokenizer tokenizer);

  // Stops and joins the threads; a document that is being tokenized is finished first.
  ~DataLoader();
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  // The next micro-batch; blocks until it is there. A finite dataset ends with nullopt: its last partial sample is
  // dropped, and a last step that is short of samples is filled up with rows whose labels are all -100, so every rank
  // gets equally many batches of equal shape (token-weighted means do not see the difference).
  // What went wrong in a thread is thrown here, after the batches before it: broken lines under OnError::kStop
  // (c10::ValueError with file and line), unreadable files, a dataset without tokens. One thread may call this.
  std::optional<Batch> next();

  // Broken lines skipped on the way to the last batch, each time they are met; 0 under OnError::kStop.
  int64_t num_skipped_lines() const { return num_skipped_lines_; }

  // The epoch, from 0, of the last batch's last token.
  int64_t epoch() const { return epoch_; }

 private:
  void take_note(const Item& item);
  void report_skipped_lines() const;

  const TextDatasetOptions dataset_;
  const SampleSlice slice_;
  std::unique_ptr<Pipeline> pipeline_;
  int64_t num_skipped_lines_ = 0;
  bool told_of_more_ = false;
  int64_t epoch_ = 0;
  bool at_end_ = false;
  std::exception_ptr error_;  // thrown again by each further call
};

}  // namespace titan::data
