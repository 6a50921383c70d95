#include "titan/config/reader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/config/read_text.h"

namespace titan::config {
namespace {

// A folder of this test's own, removed at its end.
class ReaderFile : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(std::string_view text) {
    std::string path = folder_ / "job.toml";
    std::ofstream(path) << text;
    return path;
  }

  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("titan_reader_" + std::to_string(getpid()));
};

TEST_F(ReaderFile, CommandLineGoesOverTomlOverDefaults) {
  const std::string path = write("[training]\nsteps = 5\nseq_len = 64\n");
  const ReadText read = from_flags({"--training.steps", "7", "--job.config_file", path});
  EXPECT_TRUE(read.problems.empty()) << joined(read.problems.lines());
  EXPECT_EQ(read.reading.config.training.steps, 7);
  EXPECT_EQ(read.reading.config.training.seq_len, 64);
  EXPECT_EQ(read.reading.config.training.local_batch_size, 8);
  EXPECT_EQ(read.reading.config.job.config_file, path);
}

TEST_F(ReaderFile, EmptyFileIsAllDefaults) {
  EXPECT_TRUE(from_flags({"--job.config_file=" + write("")}).problems.empty());
}

TEST_F(ReaderFile, FileThatIsNotThereIsNamed) {
  const ReadText read = from_flags({"--job.config_file", "/nowhere/job.toml"});
  EXPECT_EQ(joined(read.problems.lines()),
            "job.config_file: cannot read /nowhere/job.toml; give the path of a TOML file\n");
}

TEST_F(ReaderFile, FolderInPlaceOfAFileIsNamed) {
  EXPECT_EQ(from_flags({"--job.config_file", folder_.string()}).problems.lines().size(), 1u);
}

TEST_F(ReaderFile, TestDatasetBringsItsPathUnlessOneIsGiven) {
  EXPECT_EQ(from_flags({}).reading.config.training.dataset_path, "tests/assets/c4_test");
  EXPECT_EQ(from_flags({"--training.dataset_path", "x"}).reading.config.training.dataset_path, "x");
  const std::string path = write("[training]\ndataset = \"c4_test\"\n");
  const ReadText other = from_flags({"--job.config_file", path, "--training.dataset", "c4"});
  EXPECT_EQ(other.reading.config.training.dataset_path, std::nullopt);
}

TEST(Reader, ValuesFollowAFlagOrAnEqualsSign) {
  const ReadText read = from_flags({"--training.steps=3", "--optimizer.lr", "1e-3", "--model.flavor=a=b"});
  EXPECT_TRUE(read.problems.empty()) << joined(read.problems.lines());
  EXPECT_EQ(read.reading.config.training.steps, 3);
  EXPECT_EQ(read.reading.config.optimizer.lr, 1e-3);
  EXPECT_EQ(read.reading.config.model.flavor, "a=b");
}

TEST(Reader, LastOfSeveralWins) {
  const ReadText read =
      from_flags({"--training.steps", "3", "--training.steps=4", "--compile.enable", "--compile.no-enable"});
  EXPECT_EQ(read.reading.config.training.steps, 4);
  EXPECT_FALSE(read.reading.config.compile.enable);
}

TEST(Reader, MinusOneIsAValue) {
  const ReadText read = from_flags({"--training.global_batch_size", "-1", "--optimizer.lr", "-0.5"});
  EXPECT_TRUE(read.problems.empty()) << joined(read.problems.lines());
  EXPECT_EQ(read.reading.config.training.global_batch_size, -1);
  EXPECT_EQ(read.reading.config.optimizer.lr, -0.5);
}

TEST(Reader, FlagsStandAloneOrAreNegatedOrSpeltOut) {
  EXPECT_TRUE(from_flags({"--compile.enable", "--training.steps", "1"}).reading.config.compile.enable);
  EXPECT_FALSE(
      from_flags({"--checkpoint.no-initial-load-model-only"}).reading.config.checkpoint.initial_load_model_only);
  EXPECT_FALSE(
      from_flags({"--checkpoint.no_initial_load_model_only"}).reading.config.checkpoint.initial_load_model_only);
  EXPECT_FALSE(from_flags({"--compile.enable", "--compile.enable=false"}).reading.config.compile.enable);
  EXPECT_TRUE(from_flags({"--compile.enable", "true"}).reading.config.compile.enable);
  EXPECT_EQ(joined(from_flags({"--compile.enable=maybe"}).problems.lines()),
            "compile.enable: expected true or false, got \"maybe\"\n");
  EXPECT_EQ(joined(from_flags({"--compile.no-enable=true"}).problems.lines()),
            "compile.no-enable: takes no value, got \"true\"\n");
}

TEST(Reader, ListsAreSplitAtCommas) {
  EXPECT_EQ(from_flags({"--compile.components", "model"}).reading.config.compile.components, (Strings{"model"}));
  EXPECT_EQ(from_flags({"--compile.components=model,loss"}).reading.config.compile.components,
            (Strings{"model", "loss"}));
  EXPECT_EQ(from_flags({"--compile.components="}).reading.config.compile.components, Strings{});
  const auto parts = from_flags({"--parallelism.module_fqns_per_model_part", "a,b;c"})
                         .reading.config.parallelism.module_fqns_per_model_part;
  EXPECT_EQ(parts, (std::vector<Strings>{{"a", "b"}, {"c"}}));
}

TEST(Reader, NoneUnsets) {
  const ReadText flags = from_flags({"--debug.seed", "3", "--debug.seed", "None"});
  EXPECT_TRUE(flags.problems.empty());
  EXPECT_EQ(flags.reading.config.debug.seed, std::nullopt);
  const ReadText toml = from_toml("[parallelism]\ncontext_parallel_load_balancer = \"None\"\n");
  EXPECT_EQ(toml.reading.config.parallelism.context_parallel_load_balancer, std::nullopt);
}

TEST(Reader, TomlTypesFillKeys) {
  const ReadText read = from_toml(
      "[training]\nmax_norm = 2\nmax_seconds = 1.5\n[training.dataloader]\nnum_workers = 3\n"
      "[quantize.linear.float8]\nfilter_fqns = ['a', 'b']\n[model.args]\nn_layers = 2\ndepth_init = false\n"
      "[parallelism]\nmodule_fqns_per_model_part = [['x'], ['y', 'z']]\n");
  EXPECT_TRUE(read.problems.empty()) << joined(read.problems.lines());
  const JobConfig& config = read.reading.config;
  EXPECT_EQ(config.training.max_norm, 2.0);
  EXPECT_EQ(config.training.max_seconds, 1.5);
  EXPECT_EQ(config.training.dataloader.num_workers, 3);
  EXPECT_EQ(config.quantize.linear.float8.filter_fqns, (Strings{"a", "b"}));
  EXPECT_EQ(config.model.args.n_layers, 2);
  EXPECT_EQ(config.model.args.depth_init, false);
  EXPECT_EQ(config.parallelism.module_fqns_per_model_part, (std::vector<Strings>{{"x"}, {"y", "z"}}));
}

TEST(Reader, WrongTypesAreNamedOnALineEach) {
  const ReadText read = from_toml(
      "[training]\nsteps = \"ten\"\nseq_len = 2.0\nmax_norm = true\nlocal_batch_size = 1979-05-27\n"
      "[compile]\nenable = 1\ncomponents = [1, 2]\n[job]\ndescription = 3\n");
  EXPECT_EQ(joined(read.problems.lines()),
            "compile.components: expected a list of texts, got a list of other values\n"
            "compile.enable: expected true or false, got 1\n"
            "job.description: expected text, got 3; write it in quotes, as \"3\"\n"
            "training.local_batch_size: expected an integer, got a date or time\n"
            "training.max_norm: expected a number, got true\n"
            "training.seq_len: expected an integer, got 2.0\n"
            "training.steps: expected an integer, got \"ten\"\n");
}

TEST(Reader, NumbersMustBeWholeWords) {
  for (const char* text : {"", "1x", "1.5", "0x10", " 1", "99999999999999999999", "--"}) {
    const ReadText read = from_flags({std::string("--training.steps=") + text});
    EXPECT_EQ(read.problems.lines().size(), 1u) << text;
    EXPECT_EQ(read.reading.config.training.steps, 10000) << text;
  }
}

TEST(Reader, UnknownKeysNameTheNearest) {
  EXPECT_EQ(joined(from_flags({"--training.stesp", "3", "--training.lr=1", "--compile.enabel"}).problems.lines()),
            "training.stesp: unknown key; the nearest known one is training.steps\n"
            "training.lr: unknown key; the nearest known one is optimizer.lr\n"
            "compile.enabel: unknown key; the nearest known one is compile.enable\n");
  EXPECT_EQ(joined(from_toml("[trainng]\nsteps = 3\n").problems.lines()),
            "trainng.steps: unknown key; the nearest known one is training.steps\n");
  EXPECT_EQ(joined(from_toml("training = 3\n").problems.lines()),
            "training: is a section, not a key; write training.<key>\n");
}

TEST(Reader, MissingValuesAndStrayWordsAreNamed) {
  EXPECT_EQ(joined(from_flags({"--training.steps", "--optimizer.lr", "1", "stray", "-x", ""}).problems.lines()),
            "training.steps: expected a value after it, got --optimizer.lr\n"
            "stray: unexpected argument; flags are --section.key value or --section.key=value\n"
            "-x: unexpected argument; flags are --section.key value or --section.key=value\n"
            "'': unexpected argument; flags are --section.key value or --section.key=value\n");
  EXPECT_EQ(joined(from_flags({"--training.steps"}).problems.lines()),
            "training.steps: expected a value after it, got none\n");
}

TEST(Reader, BrokenTomlNamesFileLineAndColumn) {
  const ReadText read = from_toml("[training]\nsteps = \n");
  ASSERT_EQ(read.problems.lines().size(), 1u);
  const std::string& line = read.problems.lines()[0];
  EXPECT_EQ(line.rfind("job.config_file: test.toml:2:", 0), 0u) << line;
  EXPECT_EQ(line.find('\n'), std::string::npos);
}

TEST(Reader, TomlThatIsNotTextIsAProblemNotACrash) {
  EXPECT_FALSE(from_toml(std::string_view("\xff\xfe\0\1", 4)).problems.empty());
  EXPECT_FALSE(from_toml(std::string(10000, '[')).problems.empty());
}

TEST(Reader, HelpIsSeenAnywhere) {
  EXPECT_TRUE(from_flags({"--training.steps", "3", "--help"}).reading.help);
  EXPECT_TRUE(from_flags({"-h"}).reading.help);
  EXPECT_FALSE(from_flags({}).reading.help);
}

}  // namespace
}  // namespace titan::config
