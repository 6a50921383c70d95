// Byte-pair encoding of one word (Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units",
// arXiv 1508.07909): starting from single bytes, the pair of neighbours with the lowest rank is merged, the leftmost
// first, until no pair has a rank. Splitting text into words comes before, see pre_tokenizer.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace titan::tokenizer {

// The `model` of a tokenizer.json. Tokens are written in the byte-level alphabet (byte_level.h).
struct BpeDefinition {
  std::vector<std::pair<std::string, int32_t>> vocab;       // a token named twice has its last id
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::optional<std::string> unk_token;                     // for bytes without a token; without it they are left out
  bool fuse_unk = false;                                    // neighbouring unknown bytes make one unk_token
  bool ignore_merges = false;                               // a word that is a token itself is not merged together
};

class Bpe {
 public:
  // Buffers and a bounded cache of words: what encode writes to. One per thread and Bpe.
  class Scratch;

  // Throws c10::ValueError on a merge whose parts or result are not in the vocabulary, and on an unk_token that is
  // needed and not in the vocabulary.
  explicit Bpe(BpeDefinition definition);

  // Appends the ids of `word`, its raw bytes, to `ids`.
  void encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;

  // Number of tokens.
  int64_t size() const { return static_cast<int64_t>(vocab_.size()); }

  // Token to id, and back; nothing where there is none.
  std::optional<int32_t> id_of(std::string_view token) const;
  std::optional<std::string_view> token_of(int32_t id) const;

  // The largest id, -1 without tokens.
  int64_t max_id() const { return static_cast<int64_t>(token_by_id_.size()) - 1; }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Vocab = std::unordered_map<std::string, int32_t, Hash, std::equal_to<>>;

  struct Merge {
    int32_t rank;  // kNoRank: the pair does not merge
    int32_t id;
  };
  struct PairSlot {
    uint64_t pair;
    Merge merge;
  };

  void add_merges(const std::vector<std::pair<std::string, std::string>>& merges);
  Merge merge_of(int32_t left, int32_t right) const;
  void encode_uncached(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;
  void merge_short(Scratch& scratch) const;
  void merge_long(Scratch& scratch) const;

  Vocab vocab_;
  Vocab words_;                                  // whole tokens by their raw bytes; filled for ignore_merges only
  std::vector<const std::string*> token_by_id_;  // null where there is none; points into vocab_
  std::array<int32_t, 256> id_by_byte_{};        // -1 where there is none
  std::vector<PairSlot> pairs_;                  // open addressing, a power of two of slots
  std::optional<int32_t> unk_id_;
  bool fuse_unk_ = false;
};

class Bpe::Scratch {
 public:
  Scratch() : cache_(kNumCached) {}

 private:
  friend class Bpe;

  // Direct-mapped: a word that falls on a taken slot takes it over. Longer words are rare and not kept.
  static constexpr size_t kNumCached = size_t{1} << 14;
  static constexpr size_t kMaxCachedBytes = 23;
  static constexpr size_t kMaxCachedIds = 10;
  struct CachedWord {
    uint8_t num_bytes = 0;  // 0: free
    char bytes[kMaxCachedBytes];
    int32_t num_ids = 0;
    int32_t ids[kMaxCachedIds];
  };

  // Symbols of a long word: a doubly linked list over their indices.
  struct Symbol {
    int32_t id, previous, next;  // id -1: merged into its left neighbour
  };
  struct Candidate {
    int32_t rank, symbol, left, right, id;
  };

  std::vector<CachedWord> cache_;
  std::vector<int32_t> ids_;  // the word's symbols before merging, its tokens after
  std::vector<Merge> ranks_;  // of each pair of neighbours in ids_
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

}  // namespace titan::tokenizer
