#include "titan/config/problems.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace titan::config {
namespace {

std::string thrown_by(const Problems& problems) {
  try {
    problems.throw_if_any();
  } catch (const c10::ValueError& error) {
    return error.what_without_backtrace();
  }
  return "";
}

TEST(Problems, NothingIsThrownForNone) { EXPECT_EQ(thrown_by(Problems{}), ""); }

TEST(Problems, AllAreThrownTogetherInOrder) {
  Problems problems;
  problems.add("b: 1");
  problems.add("a: 2");
  problems.add("b: 1");  // the same line once
  EXPECT_EQ(thrown_by(problems), "b: 1\na: 2");
}

TEST(Problems, TwelveLinesAreShownAndNeverMore) {
  Problems problems;
  for (int i = 0; i < 12; ++i) problems.add("key" + std::to_string(i) + ": wrong");
  std::string text = thrown_by(problems);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 11);
  EXPECT_NE(text.find("key11"), std::string::npos);
  problems.add("key12: wrong");
  text = thrown_by(problems);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 11);
  EXPECT_NE(text.find("... and 2 more problems"), std::string::npos) << text;
}

}  // namespace
}  // namespace titan::config
