#include "titan/tokenizer/llama3_format.h"

#include <c10/util/Exception.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "titan/tokenizer/bpe_trainer.h"
#include "titan/tokenizer/byte_level.h"

namespace titan::tokenizer {
namespace {

using Json = nlohmann::ordered_json;

// Contractions; words with one other character before them; numbers of at most three digits; punctuation; line ends;
// white space, whose last character stays with the next word.
constexpr std::string_view kPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

Json byte_level(bool use_regex, bool add_prefix_space) {
  return {
      {"type", "ByteLevel"}, {"add_prefix_space", add_prefix_space}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

Json added_token(std::string_view content) {
  return {{"content", content}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false},    {"normalized", false},  {"special", true}};
}

Json added_tokens(size_t num_tokens) {
  Json tokens = Json::array();
  for (const std::string_view content : kSpecialTokens) {
    Json token = {{"id", num_tokens + tokens.size()}};
    token.update(added_token(content));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

Json pre_tokenizer() {
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", kPattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level(false, false)})}};
}

Json post_processor(size_t begin_of_text_id) {
  const Json begin = {{"SpecialToken", {{"id", kBeginOfText}, {"type_id", 0}}}};
  const auto text = [](const char* id, int type_id) { return Json{{"Sequence", {{"id", id}, {"type_id", type_id}}}}; };
  const Json special = {
      {"id", kBeginOfText}, {"ids", Json::array({begin_of_text_id})}, {"tokens", Json::array({kBeginOfText})}};
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({begin, text("A", 0)})},
          {"pair", Json::array({begin, text("A", 0), begin, text("B", 1)})},
          {"special_tokens", {{kBeginOfText, special}}}};
}

Json model(const TrainedBpe& bpe) {
  Json::object_t vocab;
  vocab.reserve(bpe.tokens.size());
  // Not emplace or []: they look for the key among all those before it.
  for (size_t id = 0; id < bpe.tokens.size(); ++id) vocab.emplace_back(byte_level_encode(bpe.tokens[id]), id);
  Json merges = Json::array();
  for (const auto& [left, right] : bpe.merges) {
    merges.push_back(Json::array({byte_level_encode(bpe.tokens[left]), byte_level_encode(bpe.tokens[right])}));
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

void write_json(const Json& json, const std::filesystem::path& path) {
  std::ofstream file(path, std::ios::binary);
  file << json.dump(1) << '\n';
  file.close();
  TORCH_CHECK(!file.fail(), path.string(), ": cannot be written");
}

}  // namespace

std::vector<SplitStep> llama3_splits() {
  std::vector<SplitStep> splits;
  splits.push_back({Regex(kPattern), SplitBehavior::kIsolated, false});
  return splits;
}

void write_tokenizer(const TrainedBpe& bpe, const std::filesystem::path& directory) {
  std::filesystem::create_directories(directory);
  const size_t num_tokens = bpe.tokens.size();
  write_json({{"version", "1.0"},
              {"truncation", nullptr},
              {"padding", nullptr},
              {"added_tokens", added_tokens(num_tokens)},
              {"normalizer", nullptr},
              {"pre_tokenizer", pre_tokenizer()},
              {"post_processor", post_processor(num_tokens)},
              {"decoder", byte_level(true, true)},
              {"model", model(bpe)}},
             directory / "tokenizer.json");

  Json decoder = Json::object();
  for (size_t i = 0; i < std::size(kSpecialTokens); ++i) {
    decoder[std::to_string(num_tokens + i)] = added_token(kSpecialTokens[i]);
  }
  write_json({{"added_tokens_decoder", std::move(decoder)},
              {"bos_token", kBeginOfText},
              {"clean_up_tokenization_spaces", false},
              {"eos_token", kEndOfText},
              {"model_input_names", {"input_ids", "attention_mask"}},
              {"tokenizer_class", "PreTrainedTokenizerFast"}},
             directory / "tokenizer_config.json");
}

}  // namespace titan::tokenizer
