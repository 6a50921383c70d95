// Tokens beside the BPE model's: special ones (<|begin_of_text|>) and others, found in the text before anything else
// happens to it. Where several could begin, the leftmost counts, and of those the longest.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "titan/tokenizer/bpe.h"
#include "titan/tokenizer/normalizer.h"
#include "titan/tokenizer/regex.h"

namespace titan::tokenizer {

struct AddedToken {
  std::string content;
  bool single_word = false;  // counts only where no word character stands before or behind it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // takes the white space behind it along
  bool normalized = true;    // is looked for in the normalised text, in its own normalised form
  bool special = false;

  bool operator==(const AddedToken&) const = default;
};

class AddedVocabulary {
 public:
  // A part of a text: an added token (text is empty) or text without one.
  struct Section {
    std::string_view text;
    std::optional<int32_t> id;
  };

  // bpe and normalizer are used in add only.
  // Adds `tokens` in order. One that the vocabulary has keeps its id, others get the next one behind the model's.
  // A token that is there already takes the new flags, except that `normalized` stays as it first was for a special
  // one.
  void add(const std::vector<AddedToken>& tokens, const Bpe& bpe, const Normalizer& normalizer);

  // The sections of `text` by the tokens with normalized = false, and by those with normalized = true (of text that is
  // normalised). They are views of `text`. text: well-formed UTF-8.
  void split_raw(std::string_view text, Regex::Scratch& scratch, std::vector<Section>& sections) const;
  void split_normalized(std::string_view text, Regex::Scratch& scratch, std::vector<Section>& sections) const;

  std::optional<int32_t> id_of(std::string_view content) const;
  std::optional<std::string_view> token_of(int32_t id) const;
  bool is_special(std::string_view content) const { return specials_.find(content) != specials_.end(); }

  // The largest id, -1 without tokens.
  int64_t max_id() const { return by_id_.empty() ? -1 : by_id_.rbegin()->first; }

 private:
  // All patterns in one trie over bytes. A node is looked up by (parent, byte).
  class Trie {
   public:
    void insert(std::string_view pattern, int32_t id);  // the first of two equal patterns stays
    struct Match {
      Span span;
      int32_t id;
    };
    // The first match at or behind `from`.
    std::optional<Match> find(std::string_view text, size_t from) const;

   private:
    std::unordered_map<uint64_t, int32_t> children_;
    std::vector<int32_t> ids_{-1};  // by node; -1: no pattern ends here
    std::array<bool, 256> begins_{};
  };

  void split(const Trie& trie, std::string_view text, Regex::Scratch& scratch, std::vector<Section>& sections) const;
  bool stands_alone(std::string_view text, const Span& span, Regex::Scratch& scratch) const;

  std::map<std::string, int32_t, std::less<>> ids_;
  std::map<int32_t, AddedToken> by_id_;
  int64_t max_added_id_ = -1;
  std::vector<AddedToken> special_tokens_, other_tokens_;  // in the order they came: the first pattern wins
  std::set<std::string, std::less<>> specials_;
  Trie raw_, normalized_;
  std::optional<Regex> word_character_;  // there if a token is single_word
};

}  // namespace titan::tokenizer
