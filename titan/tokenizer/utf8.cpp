#include "titan/tokenizer/utf8.h"

#include <simdjson.h>

namespace titan::tokenizer {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// The well-formed sequences of table 3-7 of the Unicode standard: by the lead byte, how long a sequence is and the
// range of its second byte (later ones are 80..BF). Length 0: no lead byte.
struct Lead {
  int64_t length;
  unsigned char second_min, second_max;
};

Lead lead_of(unsigned char byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// How many bytes at the start of `bytes` belong together, and whether they are a whole code point.
struct Part {
  int64_t num_bytes;
  bool whole;
};

Part first_part(std::string_view bytes) {
  const Lead lead = lead_of(static_cast<unsigned char>(bytes[0]));
  if (lead.length == 0) return {1, false};
  for (int64_t i = 1; i < lead.length; ++i) {
    if (i >= static_cast<int64_t>(bytes.size())) return {i, false};
    const auto byte = static_cast<unsigned char>(bytes[i]);
    const bool fits = i == 1 ? lead.second_min <= byte && byte <= lead.second_max : is_continuation(byte);
    if (!fits) return {i, false};
  }
  return {lead.length, true};
}

}  // namespace

bool is_utf8(std::string_view bytes) { return simdjson::validate_utf8(bytes.data(), bytes.size()); }

std::string replace_malformed(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const Part part = first_part(bytes);
    text += part.whole ? bytes.substr(0, part.num_bytes) : kReplacement;
    bytes.remove_prefix(part.num_bytes);
  }
  return text;
}

CodePoint first_code_point(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
  if (byte(0) < 0x80) return {byte(0), 1};
  if (byte(0) < 0xE0) return {(byte(0) & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (byte(0) < 0xF0) return {(byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

CodePoint last_code_point(std::string_view text) {
  size_t start = text.size() - 1;
  while (is_continuation(static_cast<unsigned char>(text[start]))) --start;
  return first_code_point(text.substr(start));
}

void append_code_point(uint32_t code_point, std::string& text) {
  const auto put = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (code_point < 0x80) return put(code_point);
  if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
  } else {
    if (code_point < 0x10000) {
      put(0xE0 | code_point >> 12);
    } else {
      put(0xF0 | code_point >> 18);
      put(0x80 | (code_point >> 12 & 0x3F));
    }
    put(0x80 | (code_point >> 6 & 0x3F));
  }
  put(0x80 | (code_point & 0x3F));
}

bool is_white_space(uint32_t code_point) {
  switch (code_point) {
    case 0x20:
    case 0x85:
    case 0xA0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202F:
    case 0x205F:
    case 0x3000:
      return true;
    default:
      return (0x09 <= code_point && code_point <= 0x0D) || (0x2000 <= code_point && code_point <= 0x200A);
  }
}

}  // namespace titan::tokenizer
