#include "titan/tokenizer/bpe_trainer.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <iterator>
#include <queue>
#include <unordered_set>

#include "titan/tokenizer/llama3_format.h"
#include "titan/tokenizer/utf8.h"

namespace titan::tokenizer {
namespace {

using Pair = std::pair<int32_t, int32_t>;

constexpr int64_t kNumBytes = 256;

struct PairHash {
  size_t operator()(const Pair& pair) const {
    const auto key = static_cast<uint64_t>(pair.first) << 32 | static_cast<uint32_t>(pair.second);
    return static_cast<size_t>((key * 0x9E3779B97F4A7C15u) >> 16);
  }
};

struct Word {
  std::vector<int32_t> symbols;
  int64_t count;
};

// How often each pair of neighbours occurs, and in which words: what one merge changes and the next one asks.
class PairIndex {
 public:
  explicit PairIndex(std::vector<Word> words) : words_(std::move(words)) {
    for (size_t i = 0; i < words_.size(); ++i) count(i, words_[i].count);
    for (const auto& [pair, entry] : pairs_) queue_.push({entry.count, pair});
  }

  // The most frequent pair and its count; {0, ...} where there is none.
  std::pair<int64_t, Pair> most_frequent() {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      const auto entry = pairs_.find(top.pair);
      const int64_t current = entry == pairs_.end() || entry->second.forbidden ? 0 : entry->second.count;
      if (current == top.count) return {top.count, top.pair};
      queue_.pop();  // out of date: comes again with its count of now
      if (current > 0) queue_.push({current, top.pair});
    }
    return {0, {}};
  }

  // `pair` never merges.
  void forbid(const Pair& pair) { pairs_.at(pair).forbidden = true; }

  void merge(const Pair& pair, int32_t merged) {
    std::vector<size_t> words = std::move(pairs_.at(pair).words);
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    grown_.clear();
    for (const size_t i : words) {
      Word& word = words_[i];
      count(i, -word.count);
      replace(word.symbols, pair, merged);
      count(i, word.count);
    }
    pairs_.erase(pair);
    std::sort(grown_.begin(), grown_.end());
    grown_.erase(std::unique(grown_.begin(), grown_.end()), grown_.end());
    for (const Pair& grown : grown_) {
      const auto entry = pairs_.find(grown);
      if (entry != pairs_.end() && entry->second.count > 0) queue_.push({entry->second.count, grown});
    }
  }

 private:
  struct Entry {
    int64_t count = 0;
    bool forbidden = false;
    std::vector<size_t> words;  // may name a word twice, or one that has the pair no more
  };
  struct Candidate {
    int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {  // a max-heap: the smallest ids of equals come first
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  // Adds `weight` to each pair of neighbours of word `i`.
  void count(size_t i, int64_t weight) {
    const std::vector<int32_t>& symbols = words_[i].symbols;
    for (size_t k = 0; k + 1 < symbols.size(); ++k) {
      const Pair pair{symbols[k], symbols[k + 1]};
      Entry& entry = pairs_[pair];
      entry.count += weight;
      if (weight < 0) continue;
      if (entry.words.empty() || entry.words.back() != i) entry.words.push_back(i);
      grown_.push_back(pair);
    }
  }

  static void replace(std::vector<int32_t>& symbols, const Pair& pair, int32_t merged) {
    size_t end = 0;
    for (size_t k = 0; k < symbols.size(); ++k) {
      const bool here = k + 1 < symbols.size() && symbols[k] == pair.first && symbols[k + 1] == pair.second;
      symbols[end++] = here ? merged : symbols[k];
      if (here) ++k;
    }
    symbols.resize(end);
  }

  std::vector<Word> words_;
  std::unordered_map<Pair, Entry, PairHash> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> grown_;
};

}  // namespace

BpeTrainer::BpeTrainer(BpeTrainerOptions options)
    : options_(options), pre_tokenizer_(llama3_splits(), {.add_prefix_space = false, .use_regex = false}) {
  const auto min_size = kNumBytes + static_cast<int64_t>(std::size(kSpecialTokens));
  constexpr int64_t kMaxSize = int64_t{1} << 24;
  TORCH_CHECK_VALUE(min_size <= options_.vocab_size && options_.vocab_size <= kMaxSize, "vocab-size: expected ",
                    min_size, " (bytes and special tokens) to ", kMaxSize, ", got ", options_.vocab_size);
  TORCH_CHECK_VALUE(options_.min_frequency >= 1, "min-frequency: expected at least 1, got ", options_.min_frequency);
}

void BpeTrainer::add(std::string_view text) {
  if (!is_utf8(text)) return add(replace_malformed(text));
  for (const std::string_view word : pre_tokenizer_.split(text, scratch_)) ++word_counts_[std::string(word)];
}

TrainedBpe BpeTrainer::train() const {
  TrainedBpe bpe;
  for (int64_t byte = 0; byte < kNumBytes; ++byte) bpe.tokens.emplace_back(1, static_cast<char>(byte));

  std::vector<Word> words;
  words.reserve(word_counts_.size());
  for (const auto& [bytes, count] : word_counts_) {
    Word& word = words.emplace_back(Word{{}, count});
    for (const char byte : bytes) word.symbols.push_back(static_cast<unsigned char>(byte));
  }
  PairIndex index(std::move(words));

  std::unordered_set<std::string> known(bpe.tokens.begin(), bpe.tokens.end());
  const int64_t num_tokens = options_.vocab_size - static_cast<int64_t>(std::size(kSpecialTokens));
  while (static_cast<int64_t>(bpe.tokens.size()) < num_tokens) {
    const auto [count, pair] = index.most_frequent();
    if (count < options_.min_frequency) break;
    const auto merged = static_cast<int32_t>(bpe.tokens.size());
    std::string token = bpe.tokens[pair.first] + bpe.tokens[pair.second];
    if (!known.insert(token).second) {
      index.forbid(pair);
      continue;
    }
    bpe.merges.push_back(pair);
    bpe.tokens.push_back(std::move(token));
    index.merge(pair, merged);
  }
  return bpe;
}

}  // namespace titan::tokenizer
