#include "titan/tokenizer/bpe_trainer.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "tests/unit/tokenizer/temporary_folder.h"
#include "titan/tokenizer/llama3_format.h"
#include "titan/tokenizer/tokenizer.h"

namespace titan::tokenizer {
namespace {

std::string random_words(uint32_t seed, int num_words) {
  std::mt19937 rng(seed);
  std::string text;
  for (int i = 0; i < num_words; ++i) {
    text += ' ';
    for (uint32_t n = 1 + rng() % 7; n > 0; --n) text += static_cast<char>('a' + rng() % 4);
  }
  return text;
}

TrainedBpe train(std::string_view text, BpeTrainerOptions options) {
  BpeTrainer trainer(options);
  trainer.add(text);
  return trainer.train();
}

// The definition, counting every pair anew for each merge.
std::vector<std::pair<int32_t, int32_t>> merges_by_definition(std::string_view text, size_t num_merges) {
  std::vector<std::vector<int32_t>> words;
  for (const char byte : text) {
    if (byte == ' ') words.emplace_back();
    words.back().push_back(static_cast<unsigned char>(byte));
  }
  std::vector<std::string> tokens;
  tokens.reserve(256);
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  std::vector<std::pair<int32_t, int32_t>> merges;
  while (merges.size() < num_merges) {
    std::map<std::pair<int32_t, int32_t>, int64_t> counts;
    for (const auto& word : words) {
      for (size_t i = 0; i + 1 < word.size(); ++i) ++counts[{word[i], word[i + 1]}];
    }
    std::pair<int32_t, int32_t> best;
    int64_t best_count = 0;
    for (const auto& [pair, count] : counts) {  // in the order of ids: the first of equals stays
      const bool known = std::count(tokens.begin(), tokens.end(), tokens[pair.first] + tokens[pair.second]) > 0;
      if (!known && count > best_count) best = pair, best_count = count;
    }
    if (best_count == 0) break;
    const auto merged = static_cast<int32_t>(tokens.size());
    merges.push_back(best);
    tokens.push_back(tokens[best.first] + tokens[best.second]);
    for (auto& word : words) {
      for (size_t i = 0; i + 1 < word.size(); ++i) {
        if (std::pair(word[i], word[i + 1]) != best) continue;
        word[i] = merged;
        word.erase(word.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
  }
  return merges;
}

TEST(BpeTrainer, MergesTheMostFrequentPairEachTime) {
  for (uint32_t seed = 0; seed < 4; ++seed) {
    const std::string text = random_words(seed, 300);
    const TrainedBpe bpe = train(text, {.vocab_size = 256 + 150 + 2, .min_frequency = 1});
    EXPECT_EQ(bpe.merges, merges_by_definition(text, 150)) << "seed " << seed;
  }
}

TEST(BpeTrainer, DoesNotDependOnTheOrderOfDocuments) {
  const std::string first = random_words(1, 200), second = random_words(2, 200);
  const BpeTrainerOptions options{.vocab_size = 400};
  BpeTrainer forwards(options), backwards(options);
  forwards.add(first);
  forwards.add(second);
  backwards.add(second);
  backwards.add(first);
  EXPECT_EQ(forwards.train().merges, backwards.train().merges);
}

TEST(BpeTrainer, StopsAtTheSizeOrWhereNoPairIsFrequent) {
  EXPECT_EQ(train(random_words(3, 300), {.vocab_size = 300}).tokens.size(), 298u);
  const TrainedBpe small = train("ab ab abc", {.vocab_size = 1000, .min_frequency = 2});
  EXPECT_EQ(small.tokens, ([&] {
              auto tokens = train("", {.vocab_size = 258}).tokens;
              tokens.insert(tokens.end(), {"ab", " ab"});
              return tokens;
            }()));
  EXPECT_EQ(train("", {.vocab_size = 1000}).tokens.size(), 256u);
}

TEST(BpeTrainer, MakesEachTokenOnce) {
  const TrainedBpe bpe = train(random_words(4, 2000), {.vocab_size = 1200, .min_frequency = 1});
  EXPECT_EQ(std::set<std::string>(bpe.tokens.begin(), bpe.tokens.end()).size(), bpe.tokens.size());
}

TEST(BpeTrainer, RefusesSizesWithoutRoomForBytes) {
  EXPECT_THROW(BpeTrainer({.vocab_size = 257}), c10::ValueError);
  EXPECT_THROW(BpeTrainer({.vocab_size = -1}), c10::ValueError);
  EXPECT_THROW(BpeTrainer({.vocab_size = 300, .min_frequency = 0}), c10::ValueError);
}

TEST(BpeTrainer, WhatItWritesLoadsAndGivesTextsBack) {
  const TemporaryFolder folder;
  const std::string text = random_words(5, 3000) + " caf\u00e9 \u4e2d\n\n 12345 it's";
  write_tokenizer(train(text, {.vocab_size = 500}), folder.path() / "new" / "folder");
  const Tokenizer tokenizer = Tokenizer::load(folder.path() / "new" / "folder");
  EXPECT_EQ(tokenizer.vocab_size(), 500);
  EXPECT_EQ(tokenizer.bos_id(), 498);
  EXPECT_EQ(tokenizer.eos_id(), 499);
  const std::vector<int32_t> ids = tokenizer.encode(text);
  EXPECT_LT(ids.size(), text.size() / 2);
  EXPECT_EQ(tokenizer.decode(ids), text);
  const std::vector<int32_t> document = tokenizer.encode_document("a<|end_of_text|>");
  EXPECT_EQ(document, (std::vector<int32_t>{498, 'a', 499, 499}));
  EXPECT_EQ(tokenizer.decode(document, /*skip_special_tokens=*/true), "a");
}

// The command in assets/tokenizer/README.md. Where the corpus changes, run it again.
TEST(BpeTrainer, ShippedTokenizerIsWhatItsCommandMakes) {
  BpeTrainer trainer({.vocab_size = 2048});
  std::ifstream corpus(TITAN_SOURCE_DIR "/assets/corpus/train.jsonl");
  for (std::string line; std::getline(corpus, line);)
    trainer.add(nlohmann::json::parse(line)["text"].get<std::string>());
  const TemporaryFolder folder;
  write_tokenizer(trainer.train(), folder.path());
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    EXPECT_EQ(read_file(folder.path() / name),
              read_file(std::filesystem::path(TITAN_SOURCE_DIR "/assets/tokenizer") / name));
  }
}

TEST(BpeTrainer, ShippedTokenizerHasTheSizeDebugmodelTakes) {
  const Tokenizer tokenizer = Tokenizer::load(TITAN_SOURCE_DIR "/assets/tokenizer");
  EXPECT_EQ(tokenizer.vocab_size(), 2048);
  const std::string text = "The quick brown fox.\r\n\tif x == 1: \u00e9\u0301\u4e2d\U0001f600\n";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

}  // namespace
}  // namespace titan::tokenizer
