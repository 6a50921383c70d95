#include "titan/tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace titan::tokenizer {
namespace {

const std::string kFffd = "\xEF\xBF\xBD";

TEST(Utf8, KeepsWellFormedText) {
  const std::string text = "a\u00e9\u4e2d\U0010ffff";
  EXPECT_TRUE(is_utf8(text));
  EXPECT_EQ(replace_malformed(text), text);
  EXPECT_EQ(replace_malformed(""), "");
}

// The examples of the Unicode standard, section 3.9, tables 3-8 to 3-11.
TEST(Utf8, ReplacesEachMaximalMalformedPartOnce) {
  const auto repeated = [](int n) {
    std::string text;
    for (int i = 0; i < n; ++i) text += kFffd;
    return text;
  };
  EXPECT_EQ(replace_malformed("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), repeated(8) + "A");
  EXPECT_EQ(replace_malformed("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), repeated(8) + "A");
  EXPECT_EQ(replace_malformed("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), repeated(5) + "A" + repeated(2) + "B");
  EXPECT_EQ(replace_malformed("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), repeated(4) + "A");
  EXPECT_EQ(replace_malformed("x\xE4\xB8"), "x" + kFffd);
}

TEST(Utf8, ReadsWhatItWrites) {
  for (const uint32_t value : {0x0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
    std::string text;
    append_code_point(value, text);
    EXPECT_TRUE(is_utf8(text));
    EXPECT_EQ(first_code_point(text).value, value);
    EXPECT_EQ(first_code_point(text).num_bytes, static_cast<int64_t>(text.size()));
    EXPECT_EQ(last_code_point("\u00e9" + text).value, value);
  }
}

TEST(Utf8, KnowsThe25WhiteSpaceCharacters) {
  int count = 0;
  for (uint32_t value = 0; value <= 0x10FFFF; ++value) count += is_white_space(value);
  EXPECT_EQ(count, 25);
  EXPECT_FALSE(is_white_space(0x180E));  // lost the property in Unicode 6.3
  EXPECT_FALSE(is_white_space(0x200B));
}

}  // namespace
}  // namespace titan::tokenizer
