#include "titan/data/line_reader.h"

#include <gtest/gtest.h>

#include "tests/unit/data/text_on_disk.h"

namespace titan::data {
namespace {

std::vector<Line> lines_of(const std::string& text, int64_t max_bytes = 1 << 20) {
  const TemporaryFolder folder;
  LineReader reader(open_bytes(folder.write("file", text)), max_bytes);
  std::vector<Line> lines;
  for (Line line; reader.next(line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> texts_of(const std::string& text) {
  std::vector<std::string> texts;
  for (const Line& line : lines_of(text)) texts.push_back(line.bytes);
  return texts;
}

using Texts = std::vector<std::string>;

TEST(LineReader, SplitsAtNewlines) {
  EXPECT_EQ(texts_of(""), Texts());
  EXPECT_EQ(texts_of("\n"), Texts{""});
  EXPECT_EQ(texts_of("a\n\nb\n"), (Texts{"a", "", "b"}));
}

TEST(LineReader, LastLineNeedsNoNewline) { EXPECT_EQ(texts_of("a\nb"), (Texts{"a", "b"})); }

TEST(LineReader, DropsOneCarriageReturnBeforeANewline) {
  EXPECT_EQ(texts_of("a\r\nb\r\r\nc\r"), (Texts{"a", "b\r", "c"}));
}

TEST(LineReader, DropsAByteOrderMarkOfTheFirstLineOnly) {
  const auto lines = lines_of(
      "\xef\xbb\xbf"
      "a\n\xef\xbb\xbf"
      "b");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].bytes, "a");
  EXPECT_EQ(lines[0].offset, 3);
  EXPECT_EQ(lines[1].bytes,
            "\xef\xbb\xbf"
            "b");
}

TEST(LineReader, NumbersAndOffsetsAreTheFiles) {
  const auto lines = lines_of("ab\r\n\nc\n");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1].number, 2);
  EXPECT_EQ(lines[1].offset, 4);
  EXPECT_EQ(lines[2].number, 3);
  EXPECT_EQ(lines[2].offset, 5);
}

// 700 000 bytes are several of the reader's buffers.
TEST(LineReader, JoinsALineOverSeveralBuffers) {
  const std::string huge(700'000, 'x');
  EXPECT_EQ(texts_of("a\n" + huge + "\nb"), (Texts{"a", huge, "b"}));
}

TEST(LineReader, ReadsPastALineOverTheLimit) {
  const auto lines = lines_of("1234\n12345\r\n123456\n" + std::string(700'000, 'x') + "\nb\n", 5);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_FALSE(lines[0].too_long);
  EXPECT_EQ(lines[1].bytes, "12345");
  EXPECT_FALSE(lines[1].too_long);
  EXPECT_TRUE(lines[2].too_long);
  EXPECT_TRUE(lines[3].too_long);
  EXPECT_EQ(lines[3].bytes, "");
  EXPECT_EQ(lines[4].bytes, "b");
  EXPECT_EQ(lines[4].number, 5);
}

TEST(LineReader, BlankIsSpacesOnly) {
  EXPECT_TRUE(is_blank(""));
  EXPECT_TRUE(is_blank(" \t\r"));
  EXPECT_FALSE(is_blank(" x "));
}

}  // namespace
}  // namespace titan::data
