#include "titan/config/fields.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "titan/config/check.h"

namespace titan::config {
namespace {

nlohmann::json as_json(const Field& field) {
  const auto toml = to_toml(field);
  return toml ? nlohmann::json::parse(*toml) : nlohmann::json();  // these values are written alike in TOML and JSON
}

// tests/golden/config/make_defaults.py wrote them from TorchTitan 0.2.2.
TEST(Fields, AreTorchTitansKeysWithItsDefaultsAndOurs) {
  std::ifstream file(std::string(TITAN_SOURCE_DIR) + "/tests/golden/config/torchtitan_defaults.json");
  auto torchtitan = nlohmann::json::parse(file);
  JobConfig config;
  for (const Field& field : fields_of(config)) {
    const auto theirs = torchtitan.find(field.key);
    EXPECT_EQ(theirs == torchtitan.end(), field.attributes.is_ours) << field.key;
    if (theirs == torchtitan.end()) continue;
    EXPECT_EQ(as_json(field), *theirs) << field.key;
    torchtitan.erase(theirs);
  }
  EXPECT_TRUE(torchtitan.empty()) << torchtitan.dump();
}

TEST(Fields, AreExplainedAndUnique) {
  JobConfig config;
  std::set<std::string> keys;
  for (const Field& field : fields_of(config)) {
    EXPECT_TRUE(keys.insert(field.key).second) << field.key;
    EXPECT_TRUE(field.help.ends_with('.')) << field.key;
    EXPECT_EQ(field.help.find('\n'), std::string_view::npos) << field.key;
  }
}

TEST(Fields, PartsBelongToKeysAndFallbacksAreChoices) {
  JobConfig config;
  const std::vector<Field> fields = fields_of(config);
  std::set<std::string_view> keys;
  for (const Field& field : fields) keys.insert(field.key);
  for (const Field& field : fields) {
    const Attributes& attributes = field.attributes;
    EXPECT_TRUE(attributes.part_of.empty() || keys.count(attributes.part_of)) << field.key;
    for (const std::string_view working : attributes.working) {
      EXPECT_NE(std::find(attributes.choices.begin(), attributes.choices.end(), working), attributes.choices.end())
          << field.key;
    }
    EXPECT_TRUE(attributes.working.empty() || std::holds_alternative<std::string*>(field.value) ||
                std::holds_alternative<std::optional<std::string>*>(field.value))
        << field.key;
  }
}

TEST(Fields, DefaultsAreInRange) {
  JobConfig config;
  for (const Field& field : fields_of(config)) EXPECT_EQ(out_of_range(field), std::nullopt) << field.key;
}

std::string wrong(double value, const Attributes& attributes) {
  return out_of_range(Field{"x", &value, "", attributes}).value_or("");
}

TEST(Fields, RangesIncludeClosedEndsAndExcludeOpenOnes) {
  EXPECT_EQ(wrong(0, at_least(0)), "");
  EXPECT_EQ(wrong(-1, at_least(0)), "must be at least 0, got -1");
  EXPECT_EQ(wrong(0, above(0)), "must be above 0, got 0");
  EXPECT_EQ(wrong(1, within(0, 1)), "");
  EXPECT_EQ(wrong(1.5, within(0, 1)), "must be from 0 to 1, got 1.5");
  EXPECT_EQ(wrong(1e300, within(0, 1e9)), "must be at most 1000000000, got 1e+300");
  EXPECT_EQ(wrong(1, from_up_to(0, 1)), "must be from 0 to below 1, got 1");
  EXPECT_EQ(wrong(-1, at_least(1) | special(-1)), "");
  EXPECT_EQ(wrong(0, at_least(1) | special(-1)), "must be at least 1 or -1, got 0");
}

TEST(Fields, OnlyFiniteNumbersUnlessSaid) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(wrong(infinity, at_least(0)), "must be at least 0, got inf");
  EXPECT_EQ(wrong(nan, at_least(0)), "must be at least 0, got nan");
  EXPECT_EQ(wrong(nan, Attributes{}), "must be finite, got nan");
  EXPECT_EQ(wrong(infinity, above(0) | or_infinite()), "");
  EXPECT_NE(wrong(nan, above(0) | or_infinite()), "");
  EXPECT_NE(wrong(-infinity, above(0) | or_infinite()), "");
}

TEST(Fields, ChoicesAreListed) {
  std::string value = "c";
  const Field field{"x", &value, "", one_of({"a", "b"})};
  EXPECT_EQ(out_of_range(field), "must be one of a, b, got \"c\"");
  value = "b";
  EXPECT_EQ(out_of_range(field), std::nullopt);
}

}  // namespace
}  // namespace titan::config
