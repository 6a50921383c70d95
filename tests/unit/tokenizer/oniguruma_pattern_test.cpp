#include "titan/tokenizer/oniguruma_pattern.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

namespace titan::tokenizer {
namespace {

TEST(OnigurumaPattern, KeepsWhatBothLanguagesReadAlike) {
  for (const char* pattern :
       {"'s| ?\\p{L}+|(?i:ab)?", "[^\\r\\n\\p{L}\\p{N}]?+a{1,3}?", "(?<x>a)(?=b)(?!c)(?<=d)\\k<x>", "[]a]b",
        "\\[\\]\\{\\}", "\u00e9+", "", "a{2}", "[:a]"}) {
    const std::string expected = std::string_view(pattern) == "[]a]b" ? "[\\]a]b" : pattern;
    EXPECT_EQ(to_pcre2(pattern), expected);
  }
}

TEST(OnigurumaPattern, TranslatesClassesThatDiffer) {
  EXPECT_EQ(to_pcre2("\\s[^\\s]\\S"), "\\p{White_Space}[^\\p{White_Space}]\\P{White_Space}");
  EXPECT_EQ(to_pcre2("\\h[\\h]\\H"), "[0-9a-fA-F][0-9a-fA-F][^0-9a-fA-F]");
  EXPECT_EQ(to_pcre2("\\v[\\b]"), "\\x0b[\\x08]");
  EXPECT_EQ(to_pcre2("\\p{Letter}\\p{^Decimal_Number}\\P{l}"), "\\p{L}\\p{^Nd}\\P{L}");
  EXPECT_EQ(to_pcre2("[\\p{Han}]"), "[\\p{sc:han}]");
  EXPECT_EQ(to_pcre2("[[:upper:][:^space:]]"), "[\\p{Uppercase}\\P{White_Space}]");
  EXPECT_EQ(to_pcre2("\\u00e9"), "\\x{00e9}");
  EXPECT_EQ(to_pcre2("(?m:.)"), "(?s:.)");
}

TEST(OnigurumaPattern, RepeatsAnIntervalWherePcre2WouldMakeItPossessive) {
  EXPECT_EQ(to_pcre2("\\p{N}{1,3}+"), "(?:\\p{N}{1,3})+");
  EXPECT_EQ(to_pcre2("x(ab){2}?"), "x(?:(ab){2})?");
  EXPECT_EQ(to_pcre2("a[bc]{2,}+"), "a(?:[bc]{2,})+");
  EXPECT_EQ(to_pcre2("a{,3}"), "a{0,3}");
  EXPECT_EQ(to_pcre2("a{x}{"), "a\\{x}\\{");
}

TEST(OnigurumaPattern, RefusesWhatPcre2WouldReadOtherwise) {
  for (const char* pattern :
       {"[a[bc]]", "[a&&b]", "(*FAIL)", "(?~a)", "(?s:.)", "a(?i)b|c", "\\C", "\\Qa\\E", "\\x80", "[\\W]", "\\p{Emoji}",
        "\\pL", "\\u12", "[abc", "[[:print:]]", "[[:alpha:]]", "[[:^word:]]", "a\\"}) {
    EXPECT_THROW(to_pcre2(pattern), c10::ValueError) << pattern;
  }
}

}  // namespace
}  // namespace titan::tokenizer
