#include "titan/tokenizer/byte_level.h"

#include <gtest/gtest.h>

#include <set>

#include "titan/tokenizer/utf8.h"

namespace titan::tokenizer {
namespace {

TEST(ByteLevel, GivesEachByteACharacterOfItsOwnAndBack) {
  std::set<std::string> characters;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string raw(1, static_cast<char>(byte));
    const std::string character = byte_level_encode(raw);
    EXPECT_TRUE(is_utf8(character));
    characters.insert(character);
    EXPECT_EQ(byte_level_decode(character), raw);
  }
  EXPECT_EQ(characters.size(), 256u);
}

TEST(ByteLevel, WritesWhatGpt2Writes) {
  EXPECT_EQ(byte_level_encode(" a\n"), "\u0120a\u010a");
  EXPECT_EQ(byte_level_encode("\u00e9"), "\u00c3\u00a9");
  EXPECT_EQ(byte_level_encode(std::string_view("\0", 1)), "\u0100");
  EXPECT_EQ(byte_level_encode("\xAD"), "\u0143");  // the soft hyphen does not print
}

TEST(ByteLevel, DoesNotDecodeOtherCharacters) {
  EXPECT_EQ(byte_level_decode("a b"), std::nullopt);
  EXPECT_EQ(byte_level_decode("\u0144"), std::nullopt);
  EXPECT_EQ(byte_level_decode("\u4e2d"), std::nullopt);
  EXPECT_EQ(byte_level_decode(""), "");
}

}  // namespace
}  // namespace titan::tokenizer
