// The alphabet of byte-level BPE: every byte has a printable character that stands for it in a vocabulary. Printable
// Latin-1 stands for itself, the other bytes for U+0100 and up, in order. Radford et al. 2019, "Language Models are
// Unsupervised Multitask Learners", section 2.2, and their encoder.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace titan::tokenizer {

// The characters that stand for `bytes`, as UTF-8: " a" gives "\u0120a".
std::string byte_level_encode(std::string_view bytes);

// The bytes that a token of a vocabulary stands for; nothing if a character of it stands for no byte.
// token: well-formed UTF-8.
std::optional<std::string> byte_level_decode(std::string_view token);

}  // namespace titan::tokenizer
