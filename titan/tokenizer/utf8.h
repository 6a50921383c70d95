// UTF-8 as text comes in: finding what is malformed and putting U+FFFD in its place, so that everything after it may
// rely on well-formed text. Unicode, sections 3.9 (maximal subparts) and D92.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace titan::tokenizer {

// One code point and the bytes it takes.
struct CodePoint {
  uint32_t value = 0;
  int64_t num_bytes = 0;
};

bool is_utf8(std::string_view bytes);

// `bytes` with each maximal malformed part replaced by one U+FFFD, as Rust's from_utf8_lossy and Python's
// errors="replace" do.
std::string replace_malformed(std::string_view bytes);

// The first and the last code point of `text`: well-formed, not empty.
CodePoint first_code_point(std::string_view text);
CodePoint last_code_point(std::string_view text);

void append_code_point(uint32_t code_point, std::string& text);

// Unicode's White_Space.
bool is_white_space(uint32_t code_point);

}  // namespace titan::tokenizer
