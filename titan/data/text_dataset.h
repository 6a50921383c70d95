// What a text dataset is: which files, how documents are found in them, in which order they are read and how they
// become samples. This holds the choices only; DataLoader does the reading.
//
// Files: one file, or a folder's *.json and *.jsonl (not those of its sub-folders) in byte order of their names; each
// may be compressed with gzip or zstd (.gz, .zst), told by its first bytes. A .json or .jsonl file has one JSON object
// a line, whose field `text` is one document; blank lines are no documents. A .txt file is one document as a whole.
//
// [Note: sample order]
// Documents are encoded, concatenated and cut every seq_len + 1 tokens, as TorchTitan does on one rank; the rest
// carries over into the next document and the next epoch. So sample k is tokens [k (seq_len + 1), (k + 1)(seq_len + 1))
// of one endless stream that depends on the files, the tokenizer and (shuffle, seed) only: not on the number of ranks,
// threads, or where a run was resumed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace titan::data {

// What to do about a broken line: not JSON, no field `text` or not a string, not UTF-8, or too long.
enum class OnError { kStop, kSkip };

// data.on_error, "stop" or "skip".
inline OnError on_error_from(std::string_view name) { return name == "skip" ? OnError::kSkip : OnError::kStop; }

// Ids of one document, with whatever stands at its beginning and end (bos, eos). A pure function; it is called from
// TextDatasetOptions::num_threads threads at once.
using Tokenizer = std::function<std::vector<int32_t>(std::string_view document)>;

struct TextDatasetOptions {
  std::filesystem::path path;
  int64_t seq_len = 0;

  // Shuffles whole documents, anew each epoch, by (seed, epoch). Holds 12 bytes a document in memory; a compressed
  // file is first unpacked into a nameless file in the folder for temporary files (TMPDIR, else /tmp).
  bool shuffle = false;
  uint64_t seed = 0;

  OnError on_error = OnError::kStop;
  bool infinite = true;  // false: one pass, for validation

  // Set: the token that ends a document; batches then tell where each document begins.
  std::optional<int64_t> document_end;

  std::string name = "text";                      // in log lines: "Dataset text is being re-looped"
  std::string key = "training.dataset_path";      // in errors: the configuration key that `path` came from
  int64_t num_threads = 1;                        // that parse and tokenize; changes no order
  int64_t max_document_bytes = int64_t{1} << 30;  // a longer line is a broken line
};

}  // namespace titan::data
