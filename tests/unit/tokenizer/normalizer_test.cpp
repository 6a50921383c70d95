#include "titan/tokenizer/normalizer.h"

#include <gtest/gtest.h>

namespace titan::tokenizer {
namespace {

std::string nfc(std::string_view text) {
  std::string storage;
  return std::string(Normalizer{.nfc = true}.normalize(text, storage));
}

TEST(Normalizer, ComposesByUax15) {
  EXPECT_EQ(nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(nfc("\u1100\u1161\u11a8"), "\uac01");    // Hangul
  EXPECT_EQ(nfc("q\u0307\u0323"), "q\u0323\u0307");  // reordered by combining class
  EXPECT_EQ(nfc("\u212b\u2126"), "\u00c5\u03a9");    // singletons
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093c");          // excluded from composition
  EXPECT_EQ(nfc("\ufb01"), "\ufb01");                // compatibility characters stay
}

// U+08D2 has combining class 220 since Unicode 14; by Unicode 9 nothing moves past it.
TEST(Normalizer, LeavesCharactersAfterUnicode9WhereTheyAre) {
  EXPECT_EQ(nfc("a\u08d2\u05b1"), "a\u08d2\u05b1");
  EXPECT_EQ(nfc("a\u08d4\u05b1"), "a\u05b1\u08d4");  // Unicode 9 has this one
  EXPECT_EQ(nfc("e\u0301\u08d2e\u0301"), "\u00e9\u08d2\u00e9");
  EXPECT_EQ(nfc("\U00011935\U00011930"), "\U00011935\U00011930");
}

TEST(Normalizer, KeepsZeroBytesAndEmptyText) {
  const std::string text("a\0e\u0301\0", 6);
  EXPECT_EQ(nfc(text), std::string("a\0\u00e9\0", 5));
  EXPECT_EQ(nfc(""), "");
}

TEST(Normalizer, DoesNothingUnlessAsked) {
  std::string storage;
  const std::string_view text = "e\u0301";
  EXPECT_EQ(Normalizer{}.normalize(text, storage).data(), text.data());
}

}  // namespace
}  // namespace titan::tokenizer
