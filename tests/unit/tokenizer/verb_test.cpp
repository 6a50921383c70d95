// `titan tokenizer`, as a program.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/unit/tokenizer/temporary_folder.h"
#include "titan/tokenizer/tokenizer.h"

namespace titan::tokenizer {
namespace {

const std::string kLlama3 = TITAN_SOURCE_DIR "/tests/golden/tokenizer/llama3";

struct Result {
  int exit_code;
  std::string out, err;
};

// Runs `titan tokenizer <arguments>` in a shell, with `in` as its stdin.
Result run(const std::string& arguments, const std::string& in = "") {
  const TemporaryFolder folder;
  const std::string base = folder.path().string();
  folder.write("in", in);
  const int status = std::system(
      (TITAN_BINARY " tokenizer " + arguments + " <" + base + "/in >" + base + "/out 2>" + base + "/err").c_str());
  return {WEXITSTATUS(status), read_file(base + "/out"), read_file(base + "/err")};
}

TEST(TokenizerVerb, EncodesLinesAndDecodesThemBack) {
  const TemporaryFolder folder;
  const std::string lines =
      "{\"text\":\"Hello <|end_of_text|>\\n\"}\n{\"text\":\"\"}\n{\"text\":\"caf\u00e9\\u0000\"}\n";
  const auto file = folder.write("texts.jsonl", lines).string();
  const Result encoded = run("encode --hf_assets_path " + kLlama3 + " " + file);
  ASSERT_EQ(encoded.exit_code, 0) << encoded.err;

  const Tokenizer tokenizer = Tokenizer::load(kLlama3);
  std::istringstream out(encoded.out);
  std::string line;
  std::getline(out, line);
  EXPECT_EQ(nlohmann::json::parse(line).get<std::vector<int32_t>>(), tokenizer.encode("Hello <|end_of_text|>\n"));
  std::getline(out, line);
  EXPECT_EQ(line, "[]");

  const Result decoded = run("decode --hf_assets_path " + kLlama3 + " -", encoded.out);
  EXPECT_EQ(decoded.exit_code, 0) << decoded.err;
  EXPECT_EQ(decoded.out, lines);
}

TEST(TokenizerVerb, AddsAndSkipsSpecialTokensWhenAsked) {
  const Result encoded = run("encode --add-special-tokens --hf_assets_path " + kLlama3 + " -", "{\"text\":\"a\"}\n\n");
  EXPECT_EQ(encoded.out,
            fmt::format("[{},{}]\n", *Tokenizer::load(kLlama3).bos_id(), Tokenizer::load(kLlama3).encode("a")[0]));
  EXPECT_EQ(run("decode --skip-special-tokens --hf_assets_path " + kLlama3 + " -", encoded.out).out,
            "{\"text\":\"a\"}\n");
  EXPECT_EQ(run("decode --hf_assets_path " + kLlama3 + " -", encoded.out).out, "{\"text\":\"<|begin_of_text|>a\"}\n");
}

TEST(TokenizerVerb, TrainsTheSameTokenizerEachTime) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 300; ++i) text += "word" + std::to_string(i % 17) + " and another, ";
  const auto plain = folder.write("a.txt", text).string();
  const auto jsonl = folder.write("b.jsonl", "{\"text\":\"" + text + "\"}\n").string();
  const std::string output = folder.path().string();
  EXPECT_EQ(run("train --vocab-size 270 --output " + output + "/one " + plain + " " + jsonl).exit_code, 0);
  EXPECT_EQ(run("train --vocab-size 270 --output " + output + "/two " + jsonl + " " + plain).exit_code, 0);
  EXPECT_EQ(read_file(output + "/one/tokenizer.json"), read_file(output + "/two/tokenizer.json"));
  EXPECT_EQ(Tokenizer::load(output + "/one").vocab_size(), 270);
}

TEST(TokenizerVerb, SaysInOneLineWhatIsWrong) {
  const TemporaryFolder folder;
  const std::string broken = folder.write("broken.jsonl", "{\"text\":\"a\"}\n{\"text\":").string();
  const std::string llama3 = " --hf_assets_path " + kLlama3 + " ";
  const std::pair<std::string, std::string> cases[] = {
      {"encode" + llama3 + broken, "broken.jsonl:2: not JSON"},
      {"encode" + llama3 + folder.path().string(), "expected a file, got a folder"},
      {"encode" + llama3 + "/nowhere.jsonl", "/nowhere.jsonl: cannot be read"},
      {"encode --hf_assets_path /nowhere " + broken, "hf_assets_path"},
      {"encode " + broken, "--hf_assets_path is required"},
      {"decode" + llama3 + broken, "broken.jsonl:1: expected an array of ids"},
      {"train --vocab-size 100 --output /tmp/x " + broken, "vocab-size: expected 258"},
      {"train --vocab-size many --output /tmp/x " + broken, "--vocab-size"},
      {"encode" + llama3 + "- --color red", "--color"},
      {"", "subcommand"},
  };
  for (const auto& [arguments, named] : cases) {
    const Result result = run(arguments);
    EXPECT_EQ(result.exit_code, 1) << arguments;
    EXPECT_NE(result.err.find(named), std::string::npos) << arguments << " gave: " << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
}

TEST(TokenizerVerb, HelpNamesTheFlags) {
  const Result result = run("encode --help");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.out.find("--add-special-tokens"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace titan::tokenizer
