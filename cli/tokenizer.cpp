// titan tokenizer encode|decode|train: text to ids, ids to text, a tokenizer out of text.
#include "titan/tokenizer/tokenizer.h"

#include <c10/util/Exception.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "cli/verbs.h"
#include "titan/tokenizer/bpe_trainer.h"
#include "titan/tokenizer/llama3_format.h"

namespace titan::cli {
namespace {

struct Options {
  std::string hf_assets_path, file = "-";
  bool add_special_tokens = false, skip_special_tokens = false;
  tokenizer::BpeTrainerOptions train;
  std::string output;
  std::vector<std::string> train_files;
};

std::ifstream open_file(const std::string& path) {
  TORCH_CHECK_VALUE(!std::filesystem::is_directory(path), path, ": expected a file, got a folder");
  std::ifstream file(path, std::ios::binary);
  TORCH_CHECK_VALUE(file.is_open(), path, ": cannot be read");
  return file;
}

// Calls `take` with each line of `path` ("-": stdin) that is not blank, as JSON. A ValueError on the way gets the
// file's name and the line's number put before it.
void for_each_json_line(const std::string& path, const std::function<void(simdjson::dom::element)>& take) {
  std::ifstream file;
  if (path != "-") file = open_file(path);
  std::istream& in = path == "-" ? std::cin : file;
  simdjson::dom::parser parser;
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      simdjson::dom::element value;
      const auto error = parser.parse(line).get(value);
      TORCH_CHECK_VALUE(!error, "not JSON: ", simdjson::error_message(error));
      take(value);
    } catch (const c10::ValueError& error) {
      TORCH_CHECK_VALUE(false, path, ":", number, ": ", error.what_without_backtrace());
    }
  }
}

std::string_view text_of(simdjson::dom::element value) {
  std::string_view text;
  TORCH_CHECK_VALUE(!value["text"].get(text), "expected an object with a string in the field 'text'");
  return text;
}

std::vector<int32_t> ids_of(simdjson::dom::element value) {
  simdjson::dom::array array;
  TORCH_CHECK_VALUE(!value.get(array), "expected an array of ids");
  std::vector<int32_t> ids;
  for (const simdjson::dom::element element : array) {
    int64_t id = 0;
    TORCH_CHECK_VALUE(!element.get(id) && 0 <= id && id <= std::numeric_limits<int32_t>::max(),
                      "expected ids from 0 to 2147483647, got ", std::string(simdjson::minify(element)));
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

void write_line(std::string line) {
  line += '\n';
  TORCH_CHECK(std::fwrite(line.data(), 1, line.size(), stdout) == line.size(), "stdout cannot be written");
}

void encode(const Options& options) {
  const auto tokenizer = tokenizer::Tokenizer::load(options.hf_assets_path);
  for_each_json_line(options.file, [&](simdjson::dom::element value) {
    write_line(fmt::format("[{}]", fmt::join(tokenizer.encode(text_of(value), options.add_special_tokens), ",")));
  });
}

void decode(const Options& options) {
  const auto tokenizer = tokenizer::Tokenizer::load(options.hf_assets_path);
  for_each_json_line(options.file, [&](simdjson::dom::element value) {
    const nlohmann::json line = {{"text", tokenizer.decode(ids_of(value), options.skip_special_tokens)}};
    write_line(line.dump());
  });
}

void train(const Options& options) {
  tokenizer::BpeTrainer trainer(options.train);
  for (const std::string& path : options.train_files) {
    if (path == "-" || path.ends_with(".jsonl") || path.ends_with(".json")) {
      for_each_json_line(path, [&](simdjson::dom::element value) { trainer.add(text_of(value)); });
    } else {
      std::ifstream file = open_file(path);
      trainer.add(std::string(std::istreambuf_iterator<char>(file), {}));
    }
  }
  const tokenizer::TrainedBpe bpe = trainer.train();
  tokenizer::write_tokenizer(bpe, options.output);
  const auto size = static_cast<int64_t>(bpe.tokens.size() + std::size(tokenizer::kSpecialTokens));
  write_line(fmt::format("{}: {} tokens, {} of them merged", options.output, size, bpe.merges.size()));
  if (size < options.train.vocab_size) {
    fmt::print(stderr, "titan tokenizer: {} of {} tokens: no other pair occurs {} times; give more text\n", size,
               options.train.vocab_size, options.train.min_frequency);
  }
}

void add_reading_options(CLI::App& verb, Options& options, const std::string& file_help) {
  verb.add_option("--hf_assets_path", options.hf_assets_path, "folder with tokenizer.json")->required()->take_last();
  verb.add_option("FILE", options.file, file_help)->required();
}

}  // namespace

int run_tokenizer(const Arguments& arguments) {
  Options options;
  CLI::App app("Encode, decode, train a tokenizer.", "titan tokenizer");
  app.require_subcommand(1);

  CLI::App* encoder = app.add_subcommand("encode", "Print one JSON array of ids for each line's field 'text'.");
  add_reading_options(*encoder, options, "JSONL with the field 'text'; - is stdin");
  encoder->add_flag("--add-special-tokens", options.add_special_tokens,
                    "put around each text what the tokenizer's post-processor says (bos, eos)");

  CLI::App* decoder = app.add_subcommand("decode", "The inverse: JSON arrays of ids to JSONL with the field 'text'.");
  add_reading_options(*decoder, options, "one JSON array of ids a line; - is stdin");
  decoder->add_flag("--skip-special-tokens", options.skip_special_tokens, "leave special tokens out");

  CLI::App* trainer = app.add_subcommand("train", "Learn a byte-level BPE tokenizer from text.");
  trainer->add_option("--vocab-size", options.train.vocab_size, "tokens, bytes and the 2 special ones included")
      ->required()
      ->take_last();
  trainer->add_option("--output", options.output, "folder for tokenizer.json and tokenizer_config.json")
      ->required()
      ->take_last();
  trainer->add_option("--min-frequency", options.train.min_frequency, "pairs that occur less often do not merge (2)")
      ->take_last();
  trainer->add_option("FILES", options.train_files, "*.json and *.jsonl (field 'text'), others as plain text")
      ->required();

  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes them from the end
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    TORCH_CHECK_VALUE(false, error.what(), "; `titan tokenizer --help` says more");
  }
  if (*encoder) encode(options);
  if (*decoder) decode(options);
  if (*trainer) train(options);
  TORCH_CHECK(std::fflush(stdout) == 0, "stdout cannot be written");
  return 0;
}

}  // namespace titan::cli
