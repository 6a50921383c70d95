// Cuts text into the words that byte-pair encoding works on: Split steps by a pattern, then one ByteLevel step. The
// words come out as raw bytes; Bpe knows the byte-level alphabet.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "titan/tokenizer/regex.h"

namespace titan::tokenizer {

// What becomes of the parts of the text that match a Split's pattern.
enum class SplitBehavior {
  kIsolated,            // pieces of their own
  kRemoved,             // dropped
  kMergedWithPrevious,  // joined to the piece before them
  kMergedWithNext,      // joined to the piece behind them
  kContiguous,          // neighbouring ones together are a piece of their own
};

struct SplitStep {
  Regex pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // what lies between the matches counts as matching, and the reverse
};

struct ByteLevelStep {
  bool add_prefix_space = true;  // each piece that does not begin with a space gets one
  bool use_regex = true;         // GPT-2's pattern, isolated
};

class PreTokenizer {
 public:
  // What split writes to; one per thread.
  struct Scratch {
    Regex::Scratch regex;
    std::vector<Span> matches;
    std::vector<std::string_view> pieces, next_pieces;
    std::deque<std::string> prefixed;  // pieces with their added space: a deque keeps them where they are
  };

  PreTokenizer(std::vector<SplitStep> splits, ByteLevelStep byte_level);

  // The words of `text`, in order, none empty. They are views of `text` and `scratch`, valid until the next call.
  // text: well-formed UTF-8.
  const std::vector<std::string_view>& split(std::string_view text, Scratch& scratch) const;

 private:
  std::vector<SplitStep> splits_;
  std::optional<SplitStep> gpt2_;  // runs behind the added spaces
  bool add_prefix_space_ = true;
};

}  // namespace titan::tokenizer
