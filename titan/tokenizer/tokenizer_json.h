// Reads tokenizer.json and tokenizer_config.json into the parts of a tokenizer. What is in tokenizer.json and not
// supported here is refused, with its place in the file: c10::ValueError, one line.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "titan/tokenizer/added_vocabulary.h"
#include "titan/tokenizer/bpe.h"
#include "titan/tokenizer/normalizer.h"
#include "titan/tokenizer/post_processor.h"
#include "titan/tokenizer/pre_tokenizer.h"

namespace titan::tokenizer {

struct TokenizerDefinition {
  BpeDefinition model;
  Normalizer normalizer;
  std::vector<SplitStep> splits;
  ByteLevelStep byte_level;
  std::vector<AddedToken> added_tokens;
  PostProcessor post_processor;
  bool decodes_bytes = true;  // a ByteLevel decoder; without one, decoding joins the tokens by spaces
};

// path: a tokenizer.json.
TokenizerDefinition read_tokenizer_json(const std::filesystem::path& path);

// The special tokens of a tokenizer_config.json.
struct TokenizerConfig {
  std::optional<std::string> bos_token, eos_token;
  std::vector<AddedToken> special_tokens;  // bos, eos, pad, ..., then added_tokens_decoder, in the file's order
};

// path: a tokenizer_config.json.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& path);

}  // namespace titan::tokenizer
