#include "titan/tokenizer/regex.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <string>

namespace titan::tokenizer {
namespace {

// The matches, a '|' behind each.
std::string found(const Regex& regex, std::string_view text) {
  Regex::Scratch scratch;
  std::vector<Span> matches;
  regex.find_all(text, scratch, matches);
  std::string joined;
  for (const Span& match : matches) joined += std::string(text.substr(match.begin, match.end - match.begin)) + "|";
  return joined;
}

TEST(Regex, FindsFromLeftToRightWithoutOverlap) {
  EXPECT_EQ(found(Regex("aa?"), "aaabca"), "aa|a|a|");
  EXPECT_EQ(found(Regex("\\p{L}+"), "\u00e9t\u00e9, \u4e2d1"), "\u00e9t\u00e9|\u4e2d|");
  EXPECT_EQ(found(Regex("a"), ""), "");
}

// Behind the match "aa" the empty match at 2 does not count, that before "a" at 3 does not exist: "a" itself matches.
TEST(Regex, SkipsAnEmptyMatchRightBehindAMatch) {
  EXPECT_EQ(found(Regex("a*"), "aaba"), "aa|a|");
  EXPECT_EQ(found(Regex("a*"), "b\u00e9c"), "||||");
}

TEST(Regex, LooksBehindIntoWhatMatchedBefore) { EXPECT_EQ(found(Regex("a|(?<=a)b"), "abb"), "a|b|"); }

TEST(Regex, MatchesLineEndsInsideText) { EXPECT_EQ(found(Regex("\\w$"), "ab\ncd\n"), "b|d|"); }

TEST(Regex, TakesALiteralAsItIs) { EXPECT_EQ(found(Regex::literal("a.|("), "aa.|(xa.|("), "a.|(|a.|(|"); }

TEST(Regex, KelvinAndLongSFoldAsInOniguruma) {
  EXPECT_EQ(found(Regex("(?i:'s|k)"), "'S'\u017f\u212a"), "'S|'\u017f|\u212a|");
}

// A letter (CJK extension H), a digit (Garay), a mark (Kawi) and a symbol of Unicode 15 and 16.
TEST(Regex, KnowsTheCharactersOfUnicode16) {
  const std::string text = "\U00031350\U00010d40\U00011f00\U0001fac6";
  EXPECT_EQ(found(Regex("\\p{L}|\\p{So}"), text), "\U00031350|\U0001fac6|");
  EXPECT_EQ(found(Regex("\\p{Nd}|\\p{M}"), text), "\U00010d40|\U00011f00|");
  EXPECT_EQ(found(Regex("\\p{Han}+"), text), "\U00031350|");
  EXPECT_EQ(found(Regex::literal("\U0001fac6"), text), "\U0001fac6|");
}

// A pattern that keeps a place for each character: far more than the JIT's stack holds.
TEST(Regex, MatchesLongTextsThatNeedMuchStack) {
  const std::string text(2'000'000, 'a');
  Regex::Scratch scratch;
  std::vector<Span> matches;
  const Regex regex("(?:a|b(?=c))*");
  regex.find_all(text, scratch, matches);
  ASSERT_EQ(matches.size(), 1u);
  EXPECT_EQ(matches[0].end, text.size());
}

TEST(Regex, RefusesAMalformedPatternInOneLine) {
  try {
    Regex("(a");
    FAIL() << "no error";
  } catch (const c10::ValueError& error) {
    const std::string message = error.what_without_backtrace();
    EXPECT_NE(message.find("regular expression '(a'"), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace titan::tokenizer
