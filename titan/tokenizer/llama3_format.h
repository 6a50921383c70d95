// The form of Llama 3's tokenizer: how it cuts text into words, its special tokens, and the files that say so
// (Grattafiori et al. 2024, "The Llama 3 Herd of Models", arXiv 2407.21783, section 3.2). Tokenizers trained here
// have it.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "titan/tokenizer/pre_tokenizer.h"

namespace titan::tokenizer {

struct TrainedBpe;

inline constexpr std::string_view kBeginOfText = "<|begin_of_text|>";
inline constexpr std::string_view kEndOfText = "<|end_of_text|>";
inline constexpr std::string_view kSpecialTokens[] = {kBeginOfText, kEndOfText};

std::vector<SplitStep> llama3_splits();

// Writes tokenizer.json and tokenizer_config.json into `directory`, which is made if it is not there. The special
// tokens get the last ids; the template puts <|begin_of_text|> before a text. Throws c10::Error if writing fails.
void write_tokenizer(const TrainedBpe& bpe, const std::filesystem::path& directory);

}  // namespace titan::tokenizer
