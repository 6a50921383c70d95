#include "titan/data/json_text.h"

#include <gtest/gtest.h>

namespace titan::data {
namespace {

std::string text_of(std::string line) {
  JsonText json;
  const JsonText::Result result = json.read(line);
  EXPECT_EQ(result.problem, "");
  return std::string(result.text);
}

std::string problem_of(std::string line) {
  JsonText json;
  const JsonText::Result result = json.read(line);
  EXPECT_EQ(result.text, "");
  return result.problem;
}

TEST(JsonText, ReadsTheFieldAmongOthers) {
  EXPECT_EQ(text_of(R"({"id": 1, "meta": {"text": "no"}, "text": "yes", "more": [null, true]})"), "yes");
  EXPECT_EQ(text_of(R"(  {"text":""}  )"), "");
}

TEST(JsonText, ResolvesEscapes) {
  EXPECT_EQ(text_of(R"({"te\u0078t": "a\n\"\\\/\u00e9\ud83d\ude00\u0000b"})"),
            std::string("a\n\"\\/\xc3\xa9\xf0\x9f\x98\x80\0b", 13));
}

TEST(JsonText, TakesNumbersThatNoTypeHolds) {
  EXPECT_EQ(text_of(R"({"id": 123456789012345678901234567890, "text": "big"})"), "big");
  EXPECT_EQ(problem_of(R"({"id": 123456789012345678901234567890})"), "has no field `text`");
  EXPECT_EQ(problem_of(R"({"id": 123456789012345678901234567890, "text": 1})"),
            "has a field `text` that is not a string");
  EXPECT_EQ(problem_of("[123456789012345678901234567890]"), "is not a JSON object");
}

TEST(JsonText, SaysWhatIsWrong) {
  EXPECT_EQ(problem_of(R"({"body": "a"})"), "has no field `text`");
  EXPECT_EQ(problem_of(R"({"Text": "a"})"), "has no field `text`");
  EXPECT_EQ(problem_of(R"({"text": null})"), "has a field `text` that is not a string");
  EXPECT_EQ(problem_of(R"({"text": ["a"]})"), "has a field `text` that is not a string");
  EXPECT_EQ(problem_of(R"("text")"), "is not a JSON object");
  EXPECT_EQ(problem_of(R"([{"text": "a"}])"), "is not a JSON object");
  EXPECT_EQ(problem_of("{\"text\": \"\xff\"}"), "is not UTF-8");
  for (const char* broken :
       {R"({"text": "a")", R"({"text": "a"} x)", R"({"text": 'a'})", "{", "text", R"({"text": "\ud83d"})",
        R"({"n": 01, "text": "a"})", R"({"n": 1e, "text": "a"})", "{\"text\": \"a\nb\"}"}) {
    EXPECT_TRUE(problem_of(broken).starts_with("is not JSON: ")) << broken << " -> " << problem_of(broken);
  }
}

TEST(JsonText, RefusesNestingWithoutEnd) {
  EXPECT_TRUE(problem_of("{\"text\": " + std::string(100'000, '[')).starts_with("is not JSON: "));
}

TEST(JsonText, OneReaderServesLinesOfAnySize) {
  JsonText json;
  for (const size_t size : {1u, 2'000'000u, 3u}) {
    std::string line = R"({"text": ")" + std::string(size, 'x') + "\"}";
    EXPECT_EQ(json.read(line).text.size(), size);
  }
}

}  // namespace
}  // namespace titan::data
