#include "titan/metrics/jsonl.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/metrics/output_folder.h"

namespace titan::metrics {
namespace {

TEST(JsonlWriter, NumbersReadBackBitForBit) {
  const OutputFolder folder;
  JsonlWriter writer(folder.path() / "a" / "metrics.jsonl");
  const Scalars scalars = {
      {"third", 1.0 / 3}, {"tiny", 5e-324}, {"huge", 1.7976931348623157e308}, {"whole", 100}, {"mfu(%)\"", -0.0}};
  writer.write(7, scalars);
  const auto lines = json_lines_of(writer.path());
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["step"], 7);
  for (const auto& [name, value] : scalars) EXPECT_EQ(lines[0][name].get<double>(), value) << name;
  EXPECT_EQ(lines[0].size(), scalars.size() + 2);
}

TEST(JsonlWriter, NonFiniteNumbersAreStrings) {
  const OutputFolder folder;
  JsonlWriter writer(folder.path() / "metrics.jsonl");
  const double infinity = std::numeric_limits<double>::infinity();
  writer.write(1, {{"a", infinity}, {"b", -infinity}, {"c", std::numeric_limits<double>::quiet_NaN()}});
  const auto line = json_lines_of(writer.path()).at(0);
  EXPECT_EQ(line["a"], "Infinity");
  EXPECT_EQ(line["b"], "-Infinity");
  EXPECT_EQ(line["c"], "NaN");
}

TEST(JsonlWriter, EachLineIsInTheFileAtOnce) {
  const OutputFolder folder;
  JsonlWriter writer(folder.path() / "metrics.jsonl");
  writer.write(1, {});
  EXPECT_EQ(json_lines_of(writer.path()).size(), 1u);
}

TEST(JsonlWriter, AppendsAlsoBehindALineWithoutItsEnd) {
  const OutputFolder folder;
  const auto path = folder.path() / "metrics.jsonl";
  { JsonlWriter(path).write(1, {}); }
  { JsonlWriter(path).write(2, {}); }
  EXPECT_EQ(json_lines_of(path).size(), 2u);
  std::ofstream(path, std::ios::app) << R"({"step": 3, "gra)";
  { JsonlWriter(path).write(3, {}); }
  EXPECT_EQ(content_of(path).find("gra\n{\"step\": 3"), content_of(path).rfind("gra"));
}

TEST(JsonlWriter, NamesAFileItCannotOpen) {
  const OutputFolder folder;
  EXPECT_THROW(JsonlWriter(folder.path()), c10::Error);  // a folder
}

}  // namespace
}  // namespace titan::metrics
