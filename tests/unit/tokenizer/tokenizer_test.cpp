// Against `tokenizers` and TorchTitan: tests/golden/tokenizer/make_goldens.py made what is compared with here.
#include "titan/tokenizer/tokenizer.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <thread>

#include "tests/unit/tokenizer/temporary_folder.h"
#include "titan/tokenizer/utf8.h"

namespace titan::tokenizer {
namespace {

using Json = nlohmann::ordered_json;
using Ids = std::vector<int32_t>;

const std::filesystem::path kGoldens = TITAN_SOURCE_DIR "/tests/golden/tokenizer";

std::vector<Json> cases_of(const std::string& name) {
  std::istringstream lines(read_file(kGoldens / name / "cases.jsonl"));
  std::vector<Json> cases;
  for (std::string line; std::getline(lines, line);) cases.push_back(Json::parse(line));
  return cases;
}

class TokenizerGolden : public testing::TestWithParam<const char*> {
 protected:
  const Tokenizer tokenizer = Tokenizer::load(kGoldens / GetParam());
  const std::vector<Json> cases = cases_of(GetParam());
};

TEST_P(TokenizerGolden, EncodesAsTheReference) {
  int num_texts = 0;
  for (const Json& golden : cases) {
    if (!golden.contains("text")) continue;
    const auto text = golden["text"].get<std::string>();
    EXPECT_EQ(tokenizer.encode(text), golden["ids"].get<Ids>()) << golden["text"];
    EXPECT_EQ(tokenizer.encode(text, true), golden["special_ids"].get<Ids>()) << golden["text"];
    EXPECT_EQ(tokenizer.encode_document(text), golden["document_ids"].get<Ids>()) << golden["text"];
    ++num_texts;
  }
  EXPECT_GT(num_texts, 100);
}

TEST_P(TokenizerGolden, DecodesAsTheReference) {
  int num_random = 0;
  for (const Json& golden : cases) {
    if (golden.contains("text")) {
      EXPECT_EQ(tokenizer.decode(golden["ids"].get<Ids>()), golden["decoded"].get<std::string>());
      EXPECT_EQ(tokenizer.decode(golden["special_ids"].get<Ids>(), true), golden["plain"].get<std::string>());
    } else {
      EXPECT_EQ(tokenizer.decode(golden["random_ids"].get<Ids>()), golden["decoded"].get<std::string>());
      ++num_random;
    }
  }
  EXPECT_EQ(num_random, 40);
}

TEST_P(TokenizerGolden, EncodesAlikeFromSeveralThreads) {
  const std::string name = GetParam();
  std::vector<std::thread> threads;
  threads.reserve(4);
  std::vector<int> num_wrong(4, 0);
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (const Json& golden : cases) {
        if (!golden.contains("text")) continue;
        num_wrong[thread] += tokenizer.encode(golden["text"].get<std::string>()) != golden["ids"].get<Ids>();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_wrong, std::vector<int>(4, 0));
}

INSTANTIATE_TEST_SUITE_P(Families, TokenizerGolden, testing::Values("gpt2", "gpt2_prefix", "llama3", "qwen2", "added"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Tokenizer, SplitsByEachBehaviorAsTheReference) {
  const Json golden = Json::parse(read_file(kGoldens / "splits.json"));
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  const TemporaryFolder folder;
  EXPECT_GT(golden["variants"].size(), 40u);
  for (const Json& variant : golden["variants"]) {
    Json tree = golden["tokenizer"];
    tree["pre_tokenizer"] = variant["pre_tokenizer"];
    folder.write("tokenizer.json", tree.dump());
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(tokenizer.encode(texts[i]), variant["ids"][i].get<Ids>())
          << variant["pre_tokenizer"] << " '" << texts[i] << "'";
    }
  }
}

// With all bytes in the vocabulary and neither NFC nor an added space, decoding is the inverse of encoding.
TEST(Tokenizer, GivesAnyTextBack) {
  std::mt19937 rng(11);
  for (const char* name : {"gpt2", "llama3"}) {
    const Tokenizer tokenizer = Tokenizer::load(kGoldens / name);
    for (int i = 0; i < 500; ++i) {
      std::string text;
      for (uint32_t n = rng() % 40; n > 0; --n) {
        const uint32_t limit = rng() % 2 ? 0x80 : rng() % 2 ? 0x3000 : 0x10FFFF;
        const uint32_t value = rng() % (limit + 1);
        append_code_point(0xD800 <= value && value <= 0xDFFF ? ' ' : value, text);
      }
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
    }
  }
}

TEST(Tokenizer, ReplacesMalformedUtf8) {
  const Tokenizer tokenizer = Tokenizer::load(kGoldens / "llama3");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a\xFF b\xE4\xB8")), "a\uFFFD b\uFFFD");
  std::mt19937 rng(12);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(rng() % 50, '\0');
    for (char& byte : bytes) byte = static_cast<char>(rng());
    EXPECT_EQ(tokenizer.encode(bytes), tokenizer.encode(replace_malformed(bytes)));
  }
}

TEST(Tokenizer, EncodesRunsWithoutAPlaceToSplit) {
  const Tokenizer tokenizer = Tokenizer::load(kGoldens / "qwen2");
  for (const std::string text : {"a", " ", "\n", "e\u0301", "1", "\u4e2d", "!"}) {
    std::string run;
    while (run.size() < 1'000'000) run += text;
    const std::vector<int32_t> ids = tokenizer.encode(run);
    EXPECT_EQ(tokenizer.encode(tokenizer.decode(ids)), ids);
    EXPECT_LE(ids.size(), run.size());
  }
}

TEST(Tokenizer, CountsIdsUpToTheLargest) {
  // 400 tokens less those that were taken out of the model, the added ones, three of tokenizer_config.json's.
  const Tokenizer added = Tokenizer::load(kGoldens / "added");
  EXPECT_EQ(added.bos_id(), added.vocab_size() - 3);
  EXPECT_EQ(added.eos_id(), added.vocab_size() - 2);
  EXPECT_EQ(Tokenizer::load(kGoldens / "llama3").vocab_size(), 606);
}

TEST(Tokenizer, ATokenForBothEndsCountsAsBos) {
  const Tokenizer tokenizer = Tokenizer::load(kGoldens / "gpt2");
  EXPECT_TRUE(tokenizer.bos_id().has_value());
  EXPECT_FALSE(tokenizer.eos_id().has_value());
}

TEST(Tokenizer, NeedsTokenizerJsonOnly) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", read_file(kGoldens / "llama3" / "tokenizer.json"));
  const Tokenizer alone = Tokenizer::load(folder.path());
  EXPECT_EQ(alone.bos_id(), std::nullopt);
  for (const Json& golden : cases_of("llama3")) {
    if (!golden.contains("text")) continue;
    EXPECT_EQ(alone.encode(golden["text"].get<std::string>()), golden["ids"].get<Ids>());
  }
}

TEST(Tokenizer, RefusesNegativeIds) {
  const Tokenizer tokenizer = Tokenizer::load(kGoldens / "gpt2");
  EXPECT_THROW(tokenizer.decode(Ids{1, -1}), c10::ValueError);
  EXPECT_EQ(tokenizer.decode(Ids{1'000'000, 2'147'483'647}), "");
}

}  // namespace
}  // namespace titan::tokenizer
