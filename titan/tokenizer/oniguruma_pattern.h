// The regular expressions of tokenizer.json are written for Oniguruma; PCRE2 runs ours. Most of both languages is the
// same. This translates what differs, and refuses what PCRE2 would take in another meaning.
// Oniguruma's side: its doc/RE (syntax ONIG_SYNTAX_ONIGURUMA); PCRE2's: pcre2pattern(3).
#pragma once

#include <string>
#include <string_view>

namespace titan::tokenizer {

// A PCRE2 pattern (PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE) that matches what `pattern` matches in Oniguruma.
// Throws c10::ValueError that names the construct which has no translation. A pattern that is malformed in both
// languages may come back: PCRE2 then refuses to compile it.
std::string to_pcre2(std::string_view pattern);

}  // namespace titan::tokenizer
