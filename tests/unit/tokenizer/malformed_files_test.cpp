// Files that are wrong or ask for what is not supported: refused in one line, whatever is wrong with them.
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/unit/tokenizer/temporary_folder.h"
#include "titan/tokenizer/tokenizer.h"

namespace titan::tokenizer {
namespace {

using namespace std::string_literals;
using Json = nlohmann::ordered_json;

const std::filesystem::path kGoldens = TITAN_SOURCE_DIR "/tests/golden/tokenizer";

// A small tokenizer that has every part.
Json small_tokenizer() {
  return Json::parse(R"({
    "truncation": null, "padding": null,
    "added_tokens": [{"id": 4, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": true,
                      "normalized": false, "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s"}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}}},
    "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
              "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
              "vocab": {"a": 0, "b": 1, "ab": 2, "?": 3}, "merges": [["a", "b"]]}})");
}

// The one line that loading `tokenizer_json` ends with; "" if it loads.
std::string error_of(const TemporaryFolder& folder, std::string_view tokenizer_json) {
  folder.write("tokenizer.json", tokenizer_json);
  try {
    Tokenizer::load(folder.path());
    return "";
  } catch (const c10::ValueError& error) {
    return error.what_without_backtrace();
  }
}

TEST(MalformedFiles, TheSmallTokenizerIsFine) {
  const TemporaryFolder folder;
  EXPECT_EQ(error_of(folder, small_tokenizer().dump()), "");
  EXPECT_EQ(Tokenizer::load(folder.path()).encode("ab <s> a", true), (std::vector<int32_t>{4, 2, 4, 0}));
}

struct Case {
  const char* pointer;  // what is changed, a JSON pointer
  const char* value;    // into what; "" removes it
  const char* named;    // what the message must have
};

TEST(MalformedFiles, WhatIsNotSupportedIsRefusedByName) {
  const Case cases[] = {
      {"/model/type", "\"Unigram\"", "model: type 'Unigram' is not supported"},
      {"/model/dropout", "0.1", "model.dropout: expected null or 0"},
      {"/model/byte_fallback", "true", "byte_fallback"},
      {"/model/continuing_subword_prefix", "\"##\"", "model.continuing_subword_prefix"},
      {"/model/end_of_word_suffix", "\"</w>\"", "model.end_of_word_suffix"},
      {"/model/unk_token", "\"<unk>\"", "model.unk_token: '<unk>'"},
      {"/model/merges", "[[\"a\", \"?\"]]", "model.merges[0]: 'a?' is not in model.vocab"},
      {"/model/merges", "[\"a b c\"]", "model.merges: rank 0"},
      {"/model/merges", "[\"a b\", [\"a\"]]", "model.merges: rank 1"},
      {"/model/merges", "", "model: 'merges' is missing"},
      {"/model/vocab/a", "-1", "model.vocab.a: expected an id"},
      {"/model/vocab/a", "1e3", "model.vocab.a: expected an id"},
      {"/model/vocab/a", "99999999", "model.vocab: expected ids from 0 to"},
      {"/model/vocab", "[]", "model.vocab: expected an object"},
      {"/model", "", "'model' is missing"},
      {"/truncation", "{\"max_length\": 4}", "truncation: must be null"},
      {"/padding", "{}", "padding: must be null"},
      {"/normalizer/normalizers/0/type", "\"Lowercase\"",
       "normalizer.normalizers[0]: type 'Lowercase' is not supported"},
      {"/pre_tokenizer", "null", "pre_tokenizer: must be ByteLevel"},
      {"/pre_tokenizer/pretokenizers/1/type", "\"Metaspace\"", "pre_tokenizer: must be ByteLevel"},
      {"/pre_tokenizer/pretokenizers/0/type", "\"Digits\"", "pre_tokenizer.pretokenizers[0]: type 'Digits' is not"},
      {"/pre_tokenizer/pretokenizers/0/behavior", "\"isolated\"", "pretokenizers[0].behavior: expected Isolated"},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "\"(a\"", "pattern.Regex: regular expression '(a'"},
      {"/pre_tokenizer/pretokenizers/0/pattern", "{}", "pattern: 'Regex' is missing"},
      {"/pre_tokenizer/pretokenizers/1/use_regex", "1", "pretokenizers[1].use_regex: expected true or false, got 1"},
      {"/post_processor/type", "\"BertProcessing\"", "post_processor: type 'BertProcessing' is not supported"},
      {"/post_processor/special_tokens", "{}", "post_processor.special_tokens: '<s>' is missing"},
      {"/post_processor/single/1/Sequence/id", "\"B\"", "post_processor.single[1].Sequence.id: expected"},
      {"/decoder/type", "\"Metaspace\"", "decoder: type 'Metaspace' is not supported"},
      {"/added_tokens/0/special", "", "added_tokens[0]: 'special' is missing"},
      {"/added_tokens/0/content", "7", "added_tokens[0].content: expected a string, got 7"},
  };
  const TemporaryFolder folder;
  for (const Case& c : cases) {
    Json tree = small_tokenizer();
    const Json::json_pointer pointer(c.pointer);
    if (*c.value) {
      tree[pointer] = Json::parse(c.value);
    } else {
      tree[pointer.parent_pointer()].erase(pointer.back());
    }
    const std::string message = error_of(folder, tree.dump());
    EXPECT_NE(message.find(c.named), std::string::npos) << c.pointer << " = " << c.value << " gave: " << message;
    EXPECT_NE(message.find("tokenizer.json"), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(MalformedFiles, AMissingFileNamesTheKey) {
  const TemporaryFolder folder;
  try {
    Tokenizer::load(folder.path() / "nowhere");
    FAIL() << "no error";
  } catch (const c10::ValueError& error) {
    const std::string message = error.what_without_backtrace();
    EXPECT_EQ(message.find("model.hf_assets_path: "), 0u) << message;
    EXPECT_NE(message.find("nowhere"), std::string::npos) << message;
  }
}

TEST(MalformedFiles, WhatIsNotJsonIsRefused) {
  const TemporaryFolder folder;
  for (const char* text : {"", "{", "null", "[]", "\"a\"", "{}", "{\"model\": {\"a\xFF\": 1}}"}) {
    EXPECT_NE(error_of(folder, text), "") << text;
  }
  folder.write("tokenizer_config.json", "{");
  EXPECT_NE(error_of(folder, small_tokenizer().dump()).find("tokenizer_config.json: is not JSON"), std::string::npos);
  folder.write("tokenizer_config.json", "{\"bos_token\": 3}");
  EXPECT_NE(error_of(folder, small_tokenizer().dump()).find("bos_token: expected a string"), std::string::npos);
}

// Loads, or throws ValueError; then encodes without a crash.
void load_and_use(const TemporaryFolder& folder, std::string_view tokenizer_json, int& num_loaded) {
  folder.write("tokenizer.json", tokenizer_json);
  try {
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    ++num_loaded;
    const std::string text = "a ab<s> b\0?\n caf\u00e9 e\u0301 <|endoftext|>12 it's\xFF"s;
    tokenizer.decode(tokenizer.encode(text));
    tokenizer.decode(tokenizer.encode_document(text), true);
  } catch (const c10::ValueError&) {
  }
}

TEST(MalformedFiles, AnyBytesLoadOrAreRefused) {
  const TemporaryFolder folder;
  std::mt19937 rng(21);
  const std::string original = small_tokenizer().dump();
  int num_loaded = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string bytes = original;
    for (uint32_t n = 1 + rng() % 4; n > 0; --n) {
      const size_t at = rng() % bytes.size();
      switch (rng() % 4) {
        case 0:
          bytes[at] = static_cast<char>(rng());
          break;
        case 1:
          bytes.erase(at, 1 + rng() % 20);
          break;
        case 2:
          bytes.insert(at, bytes.substr(rng() % bytes.size(), rng() % 20));
          break;
        case 3:
          bytes[at] = "{}[]\",:0\\"[rng() % 9];
          break;
      }
      if (bytes.empty()) bytes = " ";
    }
    load_and_use(folder, bytes, num_loaded);
  }
  EXPECT_GT(num_loaded, 10);  // or the mutations reach nothing but the JSON parser
}

// Keeps the JSON well-formed and puts other values in the place of one.
TEST(MalformedFiles, AnyValuesLoadOrAreRefused) {
  const TemporaryFolder folder;
  std::mt19937 rng(22);
  const Json values =
      Json::parse(R"json([null, true, false, 0, 1, -1, 4, 300, 1e40, 9223372036854775807, "", "a", "\u0000", "<s>",
    "(", "(?=)", "\\b", "ByteLevel", "Sequence", "NFC", "Split", "Removed", "MergedWithNext", "Contiguous", [], {}, [[]], ["a", "b"],
    {
    "type" : "Sequence"}, {"String": ""}, {"Regex": "(?=)|x*"}, {"type": "ByteLevel"}])json");
  int num_loaded = 0;
  for (const Json& original : {small_tokenizer(), Json::parse(read_file(kGoldens / "added" / "tokenizer.json"))}) {
    std::vector<Json::json_pointer> places;
    const Json flat = original.flatten();
    for (const auto& item : flat.items()) {
      if (item.key().starts_with("/model/vocab/") && rng() % 40) continue;
      for (Json::json_pointer place(item.key()); !place.empty(); place.pop_back()) places.push_back(place);
    }
    for (int i = 0; i < 400; ++i) {
      Json tree = original;
      const Json::json_pointer& place = places[rng() % places.size()];
      tree[place] = values[rng() % values.size()];
      load_and_use(folder, tree.dump(), num_loaded);
    }
  }
  EXPECT_GT(num_loaded, 50);
}

}  // namespace
}  // namespace titan::tokenizer
