#include "titan/tokenizer/added_vocabulary.h"

#include <algorithm>

#include "titan/tokenizer/utf8.h"

namespace titan::tokenizer {
namespace {

// Where the white space at the end of `text` begins.
size_t trailing_space(std::string_view text) {
  while (!text.empty()) {
    const CodePoint last = last_code_point(text);
    if (!is_white_space(last.value)) break;
    text.remove_suffix(last.num_bytes);
  }
  return text.size();
}

// Where the white space at the start of `text` ends.
size_t leading_space(std::string_view text) {
  size_t end = 0;
  while (end < text.size()) {
    const CodePoint next = first_code_point(text.substr(end));
    if (!is_white_space(next.value)) break;
    end += next.num_bytes;
  }
  return end;
}

uint64_t child_key(int32_t node, char byte) {
  return static_cast<uint64_t>(node) << 8 | static_cast<unsigned char>(byte);
}

}  // namespace

void AddedVocabulary::Trie::insert(std::string_view pattern, int32_t id) {
  if (pattern.empty()) return;
  begins_[static_cast<unsigned char>(pattern[0])] = true;
  int32_t node = 0;
  for (const char byte : pattern) {
    const auto [child, is_new] = children_.try_emplace(child_key(node, byte), static_cast<int32_t>(ids_.size()));
    if (is_new) ids_.push_back(-1);
    node = child->second;
  }
  if (ids_[node] < 0) ids_[node] = id;
}

std::optional<AddedVocabulary::Trie::Match> AddedVocabulary::Trie::find(std::string_view text, size_t from) const {
  if (children_.empty()) return std::nullopt;
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!begins_[static_cast<unsigned char>(text[begin])]) continue;
    std::optional<Match> longest;
    int32_t node = 0;
    for (size_t end = begin; end < text.size();) {
      const auto child = children_.find(child_key(node, text[end]));
      if (child == children_.end()) break;
      node = child->second;
      ++end;
      if (ids_[node] >= 0) longest = Match{{begin, end}, ids_[node]};
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

void AddedVocabulary::add(const std::vector<AddedToken>& tokens, const Bpe& bpe, const Normalizer& normalizer) {
  for (const AddedToken& token : tokens) {
    if (token.special && !token.content.empty() && specials_.insert(token.content).second) {
      special_tokens_.push_back(token);
    }
  }
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    std::optional<int32_t> id = id_of(token.content);
    if (id && by_id_.at(*id) == token) continue;
    if (!id) id = bpe.id_of(token.content);
    if (!id) id = static_cast<int32_t>(std::max(bpe.size(), max_added_id_ + 1));
    max_added_id_ = std::max<int64_t>(max_added_id_, *id);
    ids_[token.content] = *id;
    by_id_[*id] = token;
    if (!is_special(token.content)) other_tokens_.push_back(token);
  }
  raw_ = {};
  normalized_ = {};
  std::string storage;
  for (const auto* list : {&special_tokens_, &other_tokens_}) {
    for (const AddedToken& token : *list) {
      const int32_t id = ids_.at(token.content);
      if (token.normalized) {
        normalized_.insert(normalizer.normalize(token.content, storage), id);
      } else {
        raw_.insert(token.content, id);
      }
      if (by_id_.at(id).single_word && !word_character_) {
        word_character_.emplace("[\\w\\x{200C}\\x{200D}]");  // Rust's \w, which has the joiners too
      }
    }
  }
}

std::optional<int32_t> AddedVocabulary::id_of(std::string_view content) const {
  const auto found = ids_.find(content);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::string_view> AddedVocabulary::token_of(int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? std::nullopt : std::optional<std::string_view>(found->second.content);
}

void AddedVocabulary::split_raw(std::string_view text, Regex::Scratch& scratch, std::vector<Section>& sections) const {
  split(raw_, text, scratch, sections);
}

void AddedVocabulary::split_normalized(std::string_view text, Regex::Scratch& scratch,
                                       std::vector<Section>& sections) const {
  split(normalized_, text, scratch, sections);
}

bool AddedVocabulary::stands_alone(std::string_view text, const Span& span, Regex::Scratch& scratch) const {
  const auto is_word = [&](std::string_view character) { return word_character_->matches(character, scratch); };
  const std::string_view before = text.substr(0, span.begin), behind = text.substr(span.end);
  if (!before.empty() && is_word(before.substr(before.size() - last_code_point(before).num_bytes))) return false;
  return behind.empty() || !is_word(behind.substr(0, first_code_point(behind).num_bytes));
}

void AddedVocabulary::split(const Trie& trie, std::string_view text, Regex::Scratch& scratch,
                            std::vector<Section>& sections) const {
  sections.clear();
  size_t done = 0;
  size_t from = 0;
  while (const auto match = trie.find(text, from)) {
    from = match->span.end;  // not behind stripped space: the next token may begin with it
    const AddedToken& token = by_id_.at(match->id);
    if (token.single_word && !stands_alone(text, match->span, scratch)) continue;
    size_t begin = match->span.begin, end = match->span.end;
    if (token.lstrip) begin = std::max(trailing_space(text.substr(0, begin)), done);
    if (token.rstrip) end += leading_space(text.substr(end));
    if (done < begin) sections.push_back({text.substr(done, begin - done), std::nullopt});
    sections.push_back({{}, match->id});
    done = end;
  }
  if (done < text.size()) sections.push_back({text.substr(done), std::nullopt});
}

}  // namespace titan::tokenizer
