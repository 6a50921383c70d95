#include "titan/tokenizer/bpe.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "titan/tokenizer/byte_level.h"

namespace titan::tokenizer {
namespace {

// Letters a to d and random merges of what is there.
BpeDefinition random_definition(uint32_t seed, int num_merges) {
  std::mt19937 rng(seed);
  BpeDefinition definition;
  for (const char* letter : {"a", "b", "c", "d"}) definition.vocab.emplace_back(letter, definition.vocab.size());
  for (int tries = 0; tries < 20 * num_merges && static_cast<int>(definition.merges.size()) < num_merges; ++tries) {
    const std::string left = definition.vocab[rng() % definition.vocab.size()].first;
    const std::string right = definition.vocab[rng() % definition.vocab.size()].first;
    const auto known = [&](const auto& entry) { return entry.first == left + right; };
    if (left.size() + right.size() > 9 || std::any_of(definition.vocab.begin(), definition.vocab.end(), known))
      continue;
    definition.vocab.emplace_back(left + right, definition.vocab.size());
    definition.merges.emplace_back(left, right);
  }
  return definition;
}

// The definition of BPE, word for word: the lowest rank, the leftmost first.
std::vector<int32_t> merged_by_definition(const BpeDefinition& definition, std::string_view word) {
  std::vector<std::string> symbols;
  for (const char letter : word) symbols.emplace_back(1, letter);
  for (;;) {
    size_t best_rank = definition.merges.size(), best = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto merge =
          std::find(definition.merges.begin(), definition.merges.end(), std::pair(symbols[i], symbols[i + 1]));
      const auto rank = static_cast<size_t>(merge - definition.merges.begin());
      if (rank < best_rank) best_rank = rank, best = i;
    }
    if (best_rank == definition.merges.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  std::vector<int32_t> ids;
  for (const std::string& symbol : symbols) {
    for (const auto& [token, id] : definition.vocab) {
      if (token == symbol) ids.push_back(id);
    }
  }
  return ids;
}

std::vector<int32_t> encode(const Bpe& bpe, std::string_view word) {
  Bpe::Scratch scratch;
  std::vector<int32_t> ids;
  bpe.encode(word, scratch, ids);
  return ids;
}

// Word lengths on both sides of where the cache and the scan end and the heap begins.
TEST(Bpe, MergesByRankThenFromTheLeftAtAnyLength) {
  std::mt19937 rng(3);
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const BpeDefinition definition = random_definition(seed, 40);
    const Bpe bpe(definition);
    Bpe::Scratch scratch;
    for (const size_t length : {1, 2, 3, 7, 22, 23, 24, 47, 48, 49, 50, 120}) {
      for (int repeat = 0; repeat < 4; ++repeat) {
        std::string word(length, 'a');
        for (char& letter : word) letter = static_cast<char>('a' + rng() % (repeat == 0 ? 1 : 4));
        const std::vector<int32_t> expected = merged_by_definition(definition, word);
        for (int time = 0; time < 2; ++time) {  // the second time out of the cache
          std::vector<int32_t> ids = {-7};
          bpe.encode(word, scratch, ids);
          ASSERT_EQ(ids.front(), -7);
          ids.erase(ids.begin());
          ASSERT_EQ(ids, expected) << word;
        }
      }
    }
  }
}

// Far more words than the cache has places.
TEST(Bpe, CacheNeverMixesWords) {
  const BpeDefinition definition = random_definition(1, 30);
  const Bpe bpe(definition);
  Bpe::Scratch scratch;
  std::mt19937 rng(5);
  for (int i = 0; i < 60'000; ++i) {
    std::string word(1 + rng() % 10, 'a');
    for (char& letter : word) letter = static_cast<char>('a' + rng() % 4);
    std::vector<int32_t> ids;
    bpe.encode(word, scratch, ids);
    if (i % 20 != 0) continue;
    ASSERT_EQ(ids, merged_by_definition(definition, word)) << word;
  }
}

TEST(Bpe, MergesAMillionBytesInOneWord) {
  BpeDefinition definition{.vocab = {{"a", 0}}};
  for (std::string token = "a"; token.size() < 1024; token += token) {
    definition.merges.emplace_back(token, token);
    definition.vocab.emplace_back(token + token, definition.vocab.size());
  }
  EXPECT_EQ(encode(Bpe(definition), std::string(1 << 20, 'a')), std::vector<int32_t>(1024, 10));
}

TEST(Bpe, LeavesOutOrReplacesBytesWithoutAToken) {
  BpeDefinition definition{.vocab = {{"a", 0}, {"b", 1}, {"ab", 2}, {"?", 3}}, .merges = {{"a", "b"}}};
  EXPECT_EQ(encode(Bpe(definition), "axb"), (std::vector<int32_t>{2}));  // what is left becomes neighbours
  definition.unk_token = "?";
  EXPECT_EQ(encode(Bpe(definition), "axyb"), (std::vector<int32_t>{0, 3, 3, 1}));
  definition.fuse_unk = true;
  EXPECT_EQ(encode(Bpe(definition), "xyabz"), (std::vector<int32_t>{3, 2, 3}));
}

TEST(Bpe, IgnoreMergesFindsWholeWordsOnly) {
  const std::string space_a = byte_level_encode(" a");
  BpeDefinition definition{.vocab = {{"a", 0}, {"b", 1}, {byte_level_encode(" "), 2}, {space_a, 3}},
                           .ignore_merges = true};
  EXPECT_EQ(encode(Bpe(definition), " a"), (std::vector<int32_t>{3}));
  EXPECT_EQ(encode(Bpe(definition), " ab"), (std::vector<int32_t>{2, 0, 1}));
}

TEST(Bpe, RefusesMergesOutsideTheVocabulary) {
  EXPECT_THROW(Bpe({.vocab = {{"a", 0}, {"b", 1}}, .merges = {{"a", "b"}}}), c10::ValueError);
  EXPECT_THROW(Bpe({.vocab = {{"a", 0}}, .merges = {{"a", "b"}}}), c10::ValueError);
  EXPECT_THROW(Bpe({.vocab = {{"a", 1 << 30}}}), c10::ValueError);
  EXPECT_THROW(Bpe({.vocab = {{"a", 0}}, .unk_token = "?"}), c10::ValueError);
}

TEST(Bpe, KnowsItsTokens) {
  const Bpe bpe({.vocab = {{"a", 0}, {"b", 7}}});
  EXPECT_EQ(bpe.size(), 2);
  EXPECT_EQ(bpe.max_id(), 7);
  EXPECT_EQ(bpe.id_of("b"), 7);
  EXPECT_EQ(bpe.id_of("c"), std::nullopt);
  EXPECT_EQ(bpe.token_of(7), "b");
  EXPECT_EQ(bpe.token_of(3), std::nullopt);
  EXPECT_EQ(bpe.token_of(8), std::nullopt);
  EXPECT_EQ(Bpe(BpeDefinition{}).max_id(), -1);
}

}  // namespace
}  // namespace titan::tokenizer
