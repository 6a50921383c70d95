// Learns a byte-level BPE vocabulary from text: Sennrich et al. 2016 (arXiv 1508.07909, section 3.2 and algorithm 1),
// with the counts of pairs kept up to date instead of counted anew for each merge. Words are Llama 3's; llama3_format.h
// writes the result.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "titan/tokenizer/pre_tokenizer.h"

namespace titan::tokenizer {

struct BpeTrainerOptions {
  int64_t vocab_size = 2048;  // with the 256 bytes and the two special tokens
  int64_t min_frequency = 2;  // pairs that occur less often do not merge
};

// tokens: by id, as raw bytes, all different. merges: pairs of ids by rank; the i-th makes token 256 + i.
struct TrainedBpe {
  std::vector<std::string> tokens;
  std::vector<std::pair<int32_t, int32_t>> merges;
};

class BpeTrainer {
 public:
  // Throws c10::ValueError unless vocab_size has room for bytes and special tokens and min_frequency is positive.
  explicit BpeTrainer(BpeTrainerOptions options);

  // Counts the words of one document. Malformed UTF-8 is replaced as in Tokenizer::encode.
  void add(std::string_view text);

  // Merges the most frequent pair, of equals the one with the smallest ids, until the vocabulary is full or no pair is
  // frequent enough. A pair whose bytes are a token already, made of other parts, stays apart: each token has one
  // merge, and encoding makes what training made. The result depends on the words and their counts only, not on the
  // order of documents.
  TrainedBpe train() const;

 private:
  BpeTrainerOptions options_;
  PreTokenizer pre_tokenizer_;
  PreTokenizer::Scratch scratch_;
  std::unordered_map<std::string, int64_t> word_counts_;
};
}  // namespace titan::tokenizer
