#include "titan/tokenizer/byte_level.h"

#include <array>

#include "titan/tokenizer/utf8.h"

namespace titan::tokenizer {
namespace {

constexpr bool stands_for_itself(uint32_t byte) {
  return (0x21 <= byte && byte <= 0x7E) || (0xA1 <= byte && byte <= 0xAC) || (0xAE <= byte && byte <= 0xFF);
}

constexpr uint32_t kNumShifted = 256 - 94 - 12 - 82;  // bytes that do not stand for themselves

struct Alphabet {
  std::array<uint32_t, 256> character{};            // by byte
  std::array<int16_t, 0x100 + kNumShifted> byte{};  // by character; -1: stands for no byte
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (int16_t& byte : alphabet.byte) byte = -1;
  uint32_t next_shifted = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const uint32_t character = stands_for_itself(byte) ? byte : next_shifted++;
    alphabet.character[byte] = character;
    alphabet.byte[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::string byte_level_encode(std::string_view bytes) {
  std::string token;
  token.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_code_point(kAlphabet.character[static_cast<unsigned char>(byte)], token);
  return token;
}

std::optional<std::string> byte_level_decode(std::string_view token) {
  std::string bytes;
  bytes.reserve(token.size());
  while (!token.empty()) {
    const CodePoint character = first_code_point(token);
    if (character.value >= kAlphabet.byte.size() || kAlphabet.byte[character.value] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[character.value]);
    token.remove_prefix(character.num_bytes);
  }
  return bytes;
}

}  // namespace titan::tokenizer
