#include "titan/tokenizer/bpe.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "titan/tokenizer/byte_level.h"

namespace titan::tokenizer {
namespace {

constexpr int32_t kNoRank = std::numeric_limits<int32_t>::max();
constexpr uint64_t kNoPair = std::numeric_limits<uint64_t>::max();

// Ids take a slot each in the table from id to token; published vocabularies stay below a million.
constexpr int32_t kMaxId = (1 << 24) - 1;

// From here on a heap beats looking at all pairs for each merge.
constexpr size_t kMaxShortWord = 48;

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

size_t pair_hash(uint64_t pair) { return static_cast<size_t>((pair * 0x9E3779B97F4A7C15u) >> 20); }

}  // namespace

Bpe::Bpe(BpeDefinition definition) : fuse_unk_(definition.fuse_unk) {
  vocab_.reserve(definition.vocab.size());
  for (auto& [token, id] : definition.vocab) {
    TORCH_CHECK_VALUE(0 <= id && id <= kMaxId, "model.vocab: expected ids from 0 to ", kMaxId, ", got ", id,
                      " for token '", token, "'");
    vocab_.insert_or_assign(std::move(token), id);
  }
  id_by_byte_.fill(-1);
  for (const auto& [token, id] : vocab_) {
    if (id >= static_cast<int32_t>(token_by_id_.size())) token_by_id_.resize(static_cast<size_t>(id) + 1);
    // Two tokens of one id: the smaller one, so that nothing depends on the order of a hash table.
    const std::string*& slot = token_by_id_[id];
    if (slot == nullptr || token < *slot) slot = &token;
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char raw = static_cast<char>(byte);
    if (const auto id = id_of(byte_level_encode({&raw, 1}))) id_by_byte_[byte] = *id;
  }
  if (definition.unk_token) {
    unk_id_ = id_of(*definition.unk_token);
    const bool needed = std::find(id_by_byte_.begin(), id_by_byte_.end(), -1) != id_by_byte_.end();
    TORCH_CHECK_VALUE(unk_id_ || !needed, "model.unk_token: '", *definition.unk_token,
                      "' is not in the vocabulary, and some bytes are not either; add it to model.vocab");
  }
  if (definition.ignore_merges) {
    for (const auto& [token, id] : vocab_) {
      if (auto bytes = byte_level_decode(token)) words_.emplace(std::move(*bytes), id);
    }
  }
  add_merges(definition.merges);
}

void Bpe::add_merges(const std::vector<std::pair<std::string, std::string>>& merges) {
  TORCH_CHECK_VALUE(merges.size() < static_cast<size_t>(kNoRank), "model.merges: ", merges.size(), " are too many");
  pairs_.assign(std::bit_ceil(merges.size() * 2 + 1), PairSlot{kNoPair, {kNoRank, -1}});
  std::string result;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const auto id = [&](const std::string& token) {
      const auto found = id_of(token);
      TORCH_CHECK_VALUE(found, "model.merges[", rank, "]: '", token, "' is not in model.vocab");
      return *found;
    };
    result.assign(left).append(right);
    const uint64_t pair = pair_key(id(left), id(right));
    size_t slot = pair_hash(pair) & (pairs_.size() - 1);
    while (pairs_[slot].pair != kNoPair && pairs_[slot].pair != pair) slot = (slot + 1) & (pairs_.size() - 1);
    pairs_[slot] = {pair, {static_cast<int32_t>(rank), id(result)}};  // a pair given twice has its last rank
  }
}

std::optional<int32_t> Bpe::id_of(std::string_view token) const {
  const auto found = vocab_.find(token);
  return found == vocab_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::string_view> Bpe::token_of(int32_t id) const {
  if (id < 0 || id > max_id() || token_by_id_[id] == nullptr) return std::nullopt;
  return *token_by_id_[id];
}

Bpe::Merge Bpe::merge_of(int32_t left, int32_t right) const {
  const uint64_t pair = pair_key(left, right);
  size_t slot = pair_hash(pair) & (pairs_.size() - 1);
  while (pairs_[slot].pair != pair) {
    if (pairs_[slot].pair == kNoPair) return {kNoRank, -1};
    slot = (slot + 1) & (pairs_.size() - 1);
  }
  return pairs_[slot].merge;
}

void Bpe::encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  if (word.size() > Scratch::kMaxCachedBytes) return encode_uncached(word, scratch, ids);
  Scratch::CachedWord& cached = scratch.cache_[std::hash<std::string_view>()(word) % Scratch::kNumCached];
  if (cached.num_bytes == word.size() && std::memcmp(cached.bytes, word.data(), word.size()) == 0) {
    ids.insert(ids.end(), cached.ids, cached.ids + cached.num_ids);
    return;
  }
  const size_t begin = ids.size();
  encode_uncached(word, scratch, ids);
  const size_t num_ids = ids.size() - begin;
  if (num_ids > Scratch::kMaxCachedIds) return;
  cached.num_bytes = static_cast<uint8_t>(word.size());
  std::memcpy(cached.bytes, word.data(), word.size());
  cached.num_ids = static_cast<int32_t>(num_ids);
  std::copy(ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.end(), cached.ids);
}

void Bpe::encode_uncached(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const {
  if (!words_.empty()) {
    const auto whole = words_.find(word);
    if (whole != words_.end()) return ids.push_back(whole->second);
  }
  TORCH_CHECK_VALUE(word.size() < static_cast<size_t>(std::numeric_limits<int32_t>::max()), "tokenizer: a run of ",
                    word.size(), " bytes without a place to split is too long to encode");
  // 1. Symbols: one a byte.
  scratch.ids_.clear();
  bool after_unknown = false;
  for (const char byte : word) {
    const int32_t id = id_by_byte_[static_cast<unsigned char>(byte)];
    if (id >= 0) {
      scratch.ids_.push_back(id);
    } else if (unk_id_ && !(after_unknown && fuse_unk_)) {
      scratch.ids_.push_back(*unk_id_);
    }
    after_unknown = id < 0;
  }
  // 2. Merges.
  if (scratch.ids_.size() <= kMaxShortWord) {
    merge_short(scratch);
  } else {
    merge_long(scratch);
  }
  ids.insert(ids.end(), scratch.ids_.begin(), scratch.ids_.end());
}

void Bpe::merge_short(Scratch& scratch) const {
  std::vector<int32_t>& ids = scratch.ids_;
  std::vector<Merge>& ranks = scratch.ranks_;
  ranks.clear();
  for (size_t i = 0; i + 1 < ids.size(); ++i) ranks.push_back(merge_of(ids[i], ids[i + 1]));
  while (!ranks.empty()) {
    const auto best =
        std::min_element(ranks.begin(), ranks.end(), [](const Merge& a, const Merge& b) { return a.rank < b.rank; });
    if (best->rank == kNoRank) return;
    const std::ptrdiff_t i = best - ranks.begin();
    ids[i] = best->id;
    ids.erase(ids.begin() + i + 1);
    ranks.erase(best);
    if (i > 0) ranks[i - 1] = merge_of(ids[i - 1], ids[i]);
    if (i < static_cast<std::ptrdiff_t>(ranks.size())) ranks[i] = merge_of(ids[i], ids[i + 1]);
  }
}

void Bpe::merge_long(Scratch& scratch) const {
  using Symbol = Scratch::Symbol;
  using Candidate = Scratch::Candidate;
  std::vector<Symbol>& symbols = scratch.symbols_;
  std::vector<Candidate>& heap = scratch.heap_;
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.symbol > b.symbol;
  };

  const auto num_symbols = static_cast<int32_t>(scratch.ids_.size());
  symbols.clear();
  for (int32_t i = 0; i < num_symbols; ++i) {
    symbols.push_back({scratch.ids_[i], i - 1, i + 1 < num_symbols ? i + 1 : -1});
  }
  heap.clear();
  const auto add_candidate = [&](int32_t i) {
    if (i < 0 || symbols[i].next < 0) return false;
    const int32_t left = symbols[i].id, right = symbols[symbols[i].next].id;
    const Merge merge = merge_of(left, right);
    if (merge.rank == kNoRank) return false;
    heap.push_back({merge.rank, i, left, right, merge.id});
    return true;
  };
  for (int32_t i = 0; i < num_symbols; ++i) add_candidate(i);
  std::make_heap(heap.begin(), heap.end(), later);

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Candidate candidate = heap.back();
    heap.pop_back();
    Symbol& left = symbols[candidate.symbol];
    if (left.id != candidate.left || left.next < 0) continue;  // merged since
    Symbol& right = symbols[left.next];
    if (right.id != candidate.right) continue;
    left.id = candidate.id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[left.next].previous = candidate.symbol;
    if (add_candidate(left.previous)) std::push_heap(heap.begin(), heap.end(), later);
    if (add_candidate(candidate.symbol)) std::push_heap(heap.begin(), heap.end(), later);
  }

  scratch.ids_.clear();
  for (int32_t i = 0; i >= 0; i = symbols[i].next) scratch.ids_.push_back(symbols[i].id);
}

}  // namespace titan::tokenizer
