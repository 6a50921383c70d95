#include "titan/launch/line_splitter.h"

#include <gtest/gtest.h>

#include <vector>

namespace titan::launch {
namespace {

std::vector<std::string> split(const std::string& text, size_t piece) {
  LineSplitter splitter;
  std::vector<std::string> lines;
  const auto take = [&](std::string_view line) { lines.emplace_back(line); };
  for (size_t at = 0; at < text.size(); at += piece) splitter.add(std::string_view(text).substr(at, piece), take);
  splitter.finish(take);
  return lines;
}

TEST(LineSplitter, GivesTheSameLinesHoweverTheBytesCome) {
  const std::string text = "one\n\nthree \r 3\n" + std::string(70000, 'x') + "\nlast";
  const std::vector<std::string> expected{"one", "", "three \r 3", std::string(70000, 'x'), "last"};
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{3}, size_t{4096}, text.size()}) {
    EXPECT_EQ(split(text, piece), expected) << "pieces of " << piece;
  }
}

TEST(LineSplitter, ATextThatEndsItsLinesHasNoLineAfterThem) {
  EXPECT_EQ(split("a\nb\n", 1), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(split("", 1).empty());
}

TEST(LineSplitter, ALineWithoutEndIsCutButComplete) {
  const std::string text(LineSplitter::kMaxLine + 10, 'x');
  const auto lines = split(text, 1 << 16);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0] + lines[1], text);
}

}  // namespace
}  // namespace titan::launch
