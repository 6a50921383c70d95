// Raw documents of a dataset, one epoch after another: what stands in the files, not yet parsed. File order is here,
// shuffled order in shuffled_source.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "titan/data/dataset_files.h"
#include "titan/data/text_dataset.h"

namespace titan::data {

// A line of a JSONL file, or a whole .txt file.
struct RawDocument {
  std::string bytes;
  int64_t file_index = 0;
  int64_t line = 1;       // 0: not known, see find_line
  int64_t offset = 0;     // of the first byte in the unpacked file
  bool too_long = false;  // more than max_document_bytes; `bytes` is empty
};

// For one thread. Throws c10::Error for files that are gone, changed or damaged.
class DocumentSource {
 public:
  virtual ~DocumentSource() = default;

  // From the beginning of `epoch`; epochs may be left out.
  virtual void start_epoch(int64_t epoch) = 0;

  // The next document that is not blank; false at the end of the epoch. `document` keeps its capacity.
  virtual bool next(RawDocument& document) = 0;
};

// `options` give shuffle, seed and max_document_bytes. Preparing the shuffled order reads all files; that happens in
// the first start_epoch and ends early, with c10::Error, when `stop` is requested.
std::unique_ptr<DocumentSource> make_document_source(std::vector<DatasetFile> files, const TextDatasetOptions& options,
                                                     std::stop_token stop);

// Throws c10::ValueError if `first_line`, the first of `file` that is not blank, begins a JSON array. Such a file has
// no broken lines that could be skipped: it is not of this format.
void check_is_json_lines(const DatasetFile& file, std::string_view first_line);

// The number, from 1, of the line that begins at `offset` of the unpacked file. Reads the file up to there.
int64_t find_line(const DatasetFile& file, int64_t offset, int64_t max_document_bytes);

// The numbers 0 ... size - 1 in an order that depends on (size, seed, epoch) only; every order is equally likely.
std::vector<uint32_t> shuffled_order(uint32_t size, uint64_t seed, int64_t epoch);

// shuffled_source.cpp; use make_document_source.
std::unique_ptr<DocumentSource> make_shuffled_source(std::vector<DatasetFile> files, const TextDatasetOptions& options,
                                                     std::stop_token stop);

}  // namespace titan::data
