#include "titan/config/writer.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <sstream>

#include "tests/unit/config/read_text.h"
#include "titan/config/check.h"
#include "titan/config/fields.h"

namespace titan::config {
namespace {

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void expect_same(JobConfig a, JobConfig b) {
  const std::vector<Field> left = fields_of(a), right = fields_of(b);
  for (size_t i = 0; i < left.size(); ++i) {
    EXPECT_TRUE(same_value(left[i], right[i]))
        << left[i].key << ": " << to_toml(left[i]).value_or("unset") << " vs " << to_toml(right[i]).value_or("unset");
  }
}

struct Change {
  std::mt19937_64& random;

  void operator()(bool& value) { value = random() % 2 == 0; }
  void operator()(int64_t& value) { value = static_cast<int64_t>(random()); }
  void operator()(double& value) {
    value = std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 600) - 300);
  }
  void operator()(std::string& value) {
    const std::string_view letters = "ab \"\\'\n\t\x01#=[],;\xc3\xa9\x7f";  // the pair is one letter, e acute
    value = std::string(letters.substr(0, 1 + random() % 14)) + "\xc3\xa9";
  }
  template <class T>
  void operator()(std::vector<T>& values) {
    values.resize(random() % 3);
    for (T& value : values) (*this)(value);
  }
  template <class T>
  void operator()(std::optional<T>& value) {
    if (random() % 3 == 0) return value.reset();
    value.emplace();
    (*this)(*value);
  }
};

// Whatever the values, also those that check() would refuse.
TEST(Writer, TomlReadsBackToTheSameConfiguration) {
  std::mt19937_64 random(20260101);
  for (int round = 0; round < 50; ++round) {
    JobConfig config;
    for (const Field& field : fields_of(config)) std::visit([&](auto* value) { Change{random}(*value); }, field.value);
    // Keys that stand for others are moved by the reader, and this one is never written.
    config.model.tokenizer_path.reset();
    config.experimental.custom_args_module.clear();
    config.job.config_file.reset();
    const ReadText read = from_toml(to_toml(config));
    EXPECT_TRUE(read.problems.empty()) << joined(read.problems.lines()) << to_toml(config);
    expect_same(config, read.reading.config);
  }
}

TEST(Writer, NumbersThatAreNotFiniteReadBack) {
  JobConfig config;
  config.training.max_norm = std::numeric_limits<double>::infinity();
  const ReadText read = from_toml(to_toml(config));
  EXPECT_TRUE(read.problems.empty()) << joined(read.problems.lines());
  EXPECT_EQ(read.reading.config.training.max_norm, config.training.max_norm);
}

TEST(Writer, HelpNamesEveryKey) {
  const std::string text = help();
  JobConfig config;
  for (const Field& field : fields_of(config)) {
    EXPECT_NE(text.find("--" + field.key + (type_of(field) == "true or false" ? "\n" : " VALUE\n")), std::string::npos)
        << field.key;
  }
}

TEST(Writer, PageInDocsIsUpToDate) {
  std::istringstream page(content(std::filesystem::path(TITAN_SOURCE_DIR) / "docs/config.md"));
  std::istringstream written(docs());
  std::string left, right;
  while (std::getline(written, right)) {
    std::getline(page, left);
    ASSERT_EQ(left, right) << "run: build/titan config --docs > docs/config.md";
  }
  EXPECT_FALSE(std::getline(page, left)) << left;
}

TEST(Writer, SavesOnlyWhenAsked) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / ("titan_writer_" + std::to_string(getpid()));
  JobConfig config;
  config.job.dump_folder = folder;
  save_if_asked(config);
  EXPECT_FALSE(std::filesystem::exists(folder));
  config.job.save_config_file = "deep/job.toml";
  save_if_asked(config);
  EXPECT_EQ(content(folder / "deep/job.toml"), to_toml(config));
  std::filesystem::remove_all(folder);
  config.job.dump_folder = "/dev/null";
  EXPECT_THROW(save_if_asked(config), c10::ValueError);
}

// Recipes are valid on the ranks they were made for.
TEST(Recipes, AreValidAndNamedAsTheirModels) {
  struct Recipe {
    const char* file;
    const char* flavor;
    int64_t world_size;
  };
  for (const Recipe& recipe : {Recipe{"8b", "8B", 64},
                               {"70b", "70B", 64},
                               {"405b", "405B", 128},
                               {"8b_long_32k", "8B", 32},
                               {"8b_long_262k", "8B", 64},
                               {"debug", "debugmodel", 1},
                               {"debug", "debugmodel", 4}}) {
    ReadText read = from_toml(
        content(std::filesystem::path(TITAN_SOURCE_DIR) / "configs/llama3" / (std::string(recipe.file) + ".toml")));
    std::vector<std::string> notes;
    check(read.reading.config, recipe.world_size, read.problems, notes);
    EXPECT_TRUE(read.problems.empty()) << recipe.file << joined(read.problems.lines());
    EXPECT_EQ(joined(notes) + joined(read.reading.notes), "") << recipe.file;
    EXPECT_EQ(read.reading.config.model.flavor, recipe.flavor);
  }
}

}  // namespace
}  // namespace titan::config
