// The versions of Unicode that Hugging Face's library works by, where ours know another one.
//
// [Note: Unicode versions]
// Its regular expressions (Oniguruma 6.9.10) know Unicode 16, its normal forms (unicode-normalization-alignments
// 0.1.12) Unicode 9; Debian 12's PCRE2 10.42 knows Unicode 14 and its utf8proc 2.8 Unicode 15. So characters that came
// with Unicode 15 and 16 are shown to PCRE2 as older ones of their category, and characters that came after Unicode 9
// take no part in normalisation. The tables come from asking that library about every code point; both stay right under
// a newer PCRE2 and utf8proc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace titan::tokenizer {

// `text` with each character that came with Unicode 15 or 16 replaced by an older one of its general category and of
// the same length in UTF-8, so that places in one are places in the other: `text` itself where there is none, else a
// view of `storage`. text: well-formed UTF-8.
std::string_view with_older_characters(std::string_view text, std::string& storage);

// Whether the code point came after Unicode 9 and combines, composes or decomposes.
bool is_inert_in_nfc(uint32_t code_point);

}  // namespace titan::tokenizer
