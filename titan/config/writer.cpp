#include "titan/config/writer.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "titan/config/fields.h"
#include "titan/config/renamed_keys.h"

namespace titan::config {
namespace {

// "training.dataloader" and "num_workers" of training.dataloader.num_workers.
std::string_view section_of(std::string_view key) { return key.substr(0, key.rfind('.')); }
std::string_view name_of(std::string_view key) { return key.substr(key.rfind('.') + 1); }

std::string state_of(const Attributes& attributes) {
  switch (attributes.state) {
    case State::kWorking:
      return "working";
    case State::kAccepted:
      return "accepted";
    case State::kNotYet:
      break;
  }
  if (attributes.working.empty()) return "not available yet";
  return fmt::format("working: {}; others not available yet", fmt::join(attributes.working, ", "));
}

std::string values_of(const Field& field) {
  const std::string range = describe_range(field.attributes);
  if (range.empty()) return std::string(type_of(field));
  if (type_of(field) == "list of texts") return "list of texts, each " + range;
  return type_of(field) == "text" ? range : fmt::format("{}, {}", type_of(field), range);
}

// `|` ends a cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

constexpr std::string_view kDocsHead = R"(# Configuration

<!-- Written by `titan config --docs`; a test compares. Change the field lists in titan/config/, not this page. -->

A run is described by keys: those of TorchTitan 0.2.2, with its names and defaults, and some of ours (marked +).
They come from a TOML file (`--job.config_file FILE`) and from the command line, which goes over the file:
`--training.steps 10`, `--training.steps=10`, `--compile.enable`, `--compile.no-enable`, lists by commas. The last of
several wins. `None` unsets what can be unset. Paths are relative to the current directory.

Each key has a state:

- **working**: `titan train` honours it.
- **accepted**: it concerns speed or diagnosis only; read and checked, without effect yet. Setting it gives a warning.
- **not available yet**: it would change numbers, layout or memory. `titan train` refuses it by name, unless it asks for
  nothing: the default, or a part of something that is off.

`titan config --print` shows the effective configuration, `titan config --check --world-size N` judges whether it is
valid on N ranks, whatever works yet.
)";

constexpr std::string_view kDocsRenamed = R"(
## Older names

Keys as earlier versions of TorchTitan spelled them. Each is read with one line that says its new name.

| older key | now |
|---|---|
)";

std::string meaning_of(const RenamedKey& renamed) {
  using enum RenamedKey::Meaning;
  switch (renamed.meaning) {
    case kMoved:
      return fmt::format("`{}`", renamed.to);
    case kInverted:
      return fmt::format("`{}`, inverted", renamed.to);
    case kChoice:
      if (renamed.if_false.empty()) return fmt::format("true: `{}` = {}", renamed.to, renamed.if_true);
      return fmt::format("`{}`: true is {}, false is {}", renamed.to, renamed.if_true, renamed.if_false);
    case kDropped:
      return "has no effect any more";
    case kOnly:
      return fmt::format("only {}; see `{}`", renamed.if_true, renamed.to);
    case kRefused:
      return fmt::format("refused; use `{}`", renamed.to);
  }
  return "";
}

}  // namespace

std::string to_toml(const JobConfig& config) {
  JobConfig copy = config;
  JobConfig default_config;
  const std::vector<Field> fields = fields_of(copy);
  const std::vector<Field> defaults = fields_of(default_config);
  std::string text;
  std::string section;
  for (size_t i = 0; i < fields.size(); ++i) {
    const Field& field = fields[i];
    if (field.key == "job.config_file") continue;
    if (section_of(field.key) != section) {
      section = section_of(field.key);
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
    }
    if (const auto value = to_toml(field)) {
      text += fmt::format("{} = {}\n", name_of(field.key), *value);
    } else if (to_toml(defaults[i])) {
      text += fmt::format("{} = \"None\"\n", name_of(field.key));
    } else {
      text += fmt::format("# {} is unset\n", name_of(field.key));
    }
  }
  return text;
}

std::string help() {
  JobConfig defaults;
  std::string text =
      "usage: titan train [--job.config_file FILE] [--section.key value] [--section.flag] [--section.no-flag]\n\n"
      "Keys come from defaults, over them the TOML file, over it the command line. The last of several wins.\n";
  std::string section;
  for (const Field& field : fields_of(defaults)) {
    if (section_of(field.key) != section) {
      section = section_of(field.key);
      text += fmt::format("\n{}\n", section);
    }
    const bool is_flag = type_of(field) == "true or false";
    const std::string by_default = to_toml(field).value_or("unset");
    const std::string state = field.attributes.state == State::kWorking ? "" : "; " + state_of(field.attributes);
    text += fmt::format("  --{}{}\n      {} ({}default {}{})\n", field.key, is_flag ? "" : " VALUE", field.help,
                        is_flag ? "" : values_of(field) + "; ", by_default, state);
  }
  return text;
}

std::string docs() {
  JobConfig defaults;
  std::string text(kDocsHead);
  std::string section;
  for (const Field& field : fields_of(defaults)) {
    if (section_of(field.key) != section) {
      section = section_of(field.key);
      text += fmt::format("\n## {}\n\n| key | default | values | state | meaning |\n|---|---|---|---|---|\n", section);
    }
    const Attributes& attributes = field.attributes;
    const auto by_default = to_toml(field);
    const std::string with = attributes.part_of.empty() ? "" : fmt::format(" (with `{}`)", attributes.part_of);
    text += fmt::format("| `{}`{} | {} | {} | {}{} | {} |\n", name_of(field.key), attributes.is_ours ? " +" : "",
                        by_default ? fmt::format("`{}`", cell(*by_default)) : "unset", cell(values_of(field)),
                        state_of(attributes), with, cell(field.help));
  }
  text += kDocsRenamed;
  for (const RenamedKey& renamed : renamed_keys()) {
    text += fmt::format("| `{}` | {} |\n", renamed.from, meaning_of(renamed));
  }
  return text;
}

void save_if_asked(const JobConfig& config) {
  if (!config.job.save_config_file) return;
  const std::filesystem::path path = std::filesystem::path(config.job.dump_folder) / *config.job.save_config_file;
  std::error_code failed;
  std::filesystem::create_directories(path.parent_path(), failed);
  std::ofstream file(path, std::ios::binary);
  file << to_toml(config);
  file.close();
  TORCH_CHECK_VALUE(!file.fail(), "job.save_config_file: cannot write ", path.string());
}

}  // namespace titan::config
