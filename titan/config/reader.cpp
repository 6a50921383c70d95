#include "titan/config/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "titan/config/fields.h"
#include "titan/config/nearest.h"
#include "titan/config/raw_value.h"
#include "titan/config/renamed_keys.h"

namespace titan::config {
namespace {

class KnownKeys {
 public:
  explicit KnownKeys(JobConfig& config) : fields_(fields_of(config)) {
    for (const Field& field : fields_) index_[field.key] = &field;
  }

  const Field* find(std::string_view key) const {
    const auto found = index_.find(key);
    return found == index_.end() ? nullptr : found->second;
  }

  // Whether `key` stands alone on a command line.
  bool is_flag(std::string_view key) const {
    if (const RenamedKey* renamed = find_renamed(key)) {
      using enum RenamedKey::Meaning;
      if (renamed->meaning == kChoice || renamed->is_flag) return true;
      if (renamed->meaning == kMoved || renamed->meaning == kInverted) return is_flag(renamed->to);
      return false;
    }
    const Field* field = find(key);
    return field != nullptr && type_of(*field) == "true or false";
  }

  bool is_section(std::string_view key) const {
    return std::any_of(fields_.begin(), fields_.end(), [&](const Field& field) {
      return field.key.size() > key.size() && field.key.starts_with(key) && field.key[key.size()] == '.';
    });
  }

  bool is_known(std::string_view key) const { return find(key) != nullptr || find_renamed(key) != nullptr; }

  std::string_view nearest(std::string_view key) const {
    std::vector<std::string_view> keys;
    for (const Field& field : fields_) keys.push_back(field.key);
    return nearest_key(key, keys);
  }

 private:
  std::vector<Field> fields_;
  std::unordered_map<std::string_view, const Field*> index_;
};

// "--training.no-deterministic" speaks about training.deterministic; nullopt if the last name does not begin with no.
std::optional<std::string> without_no(std::string_view key) {
  const size_t leaf = key.rfind('.') + 1;
  if (!key.substr(leaf).starts_with("no_")) return std::nullopt;
  return fmt::format("{}{}", key.substr(0, leaf), key.substr(leaf + 3));
}

// The flags among `arguments`, in order.
std::vector<Entry> command_line_entries(const std::vector<std::string>& arguments, const KnownKeys& known,
                                        Reading& reading, Problems& problems) {
  std::vector<Entry> entries;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      reading.help = true;
      continue;
    }
    if (!argument.starts_with("--") || argument.size() == 2) {
      problems.add(fmt::format("{}: unexpected argument; flags are --section.key value or --section.key=value",
                               argument.empty() ? "''" : argument));
      continue;
    }
    const size_t equals = argument.find('=');
    const bool has_value = equals != std::string::npos;
    const std::string typed = argument.substr(2, has_value ? equals - 2 : std::string::npos);
    std::string key = typed;
    std::replace(key.begin(), key.end(), '-', '_');

    bool negated = false;
    if (const auto positive = without_no(key); positive && !known.is_known(key) && known.is_flag(*positive)) {
      key = *positive;
      negated = true;
    }
    if (has_value) {
      if (negated) {
        problems.add(fmt::format("{}: takes no value, got \"{}\"", typed, argument.substr(equals + 1)));
      } else {
        entries.push_back({key, typed, Word{argument.substr(equals + 1)}});
      }
      continue;
    }
    const std::string* next = i + 1 < arguments.size() ? &arguments[i + 1] : nullptr;
    if (known.is_flag(key)) {
      const bool spelled_out =
          !negated && next != nullptr && (*next == "true" || *next == "True" || *next == "false" || *next == "False");
      if (spelled_out) {
        entries.push_back({key, typed, Word{arguments[++i]}});
      } else {
        entries.push_back({key, typed, !negated});
      }
    } else if (next != nullptr && !next->starts_with("--")) {
      entries.push_back({key, typed, Word{arguments[++i]}});
    } else if (known.is_known(key)) {
      problems.add(fmt::format("{}: expected a value after it, got {}", typed, next == nullptr ? "none" : *next));
    } else {
      entries.push_back({key, typed, true});  // unknown; said so when it is applied
    }
  }
  return entries;
}

// Puts entries into the config, one after the other, and keeps track of older names.
class Writer {
 public:
  Writer(const KnownKeys& known, Reading& reading, Problems& problems)
      : known_(known), reading_(reading), problems_(problems) {}

  void apply(const Entry& entry) {
    if (const RenamedKey* renamed = find_renamed(entry.key)) return apply_renamed(*renamed, entry);
    const Field* field = known_.find(entry.key);
    if (field != nullptr) return put(*field, entry.typed, entry.value);
    if (known_.is_section(entry.key)) {
      problems_.add(fmt::format("{}: is a section, not a key; write {}.<key>", entry.typed, entry.typed));
    } else {
      problems_.add(
          fmt::format("{}: unknown key; the nearest known one is {}", entry.typed, known_.nearest(entry.key)));
    }
  }

  // Older names first, so that a file that has both means the current one.
  void apply_all(const std::vector<Entry>& entries) {
    for (const Entry& entry : entries) {
      if (find_renamed(entry.key) != nullptr) apply(entry);
    }
    for (const Entry& entry : entries) {
      if (find_renamed(entry.key) == nullptr) apply(entry);
    }
  }

 private:
  void put(const Field& field, const std::string& typed, const RawValue& value) {
    if (const auto wrong = assign(field, value)) problems_.add(fmt::format("{}: {}", typed, *wrong));
  }

  void note_rename(const RenamedKey& renamed, const Entry& entry) {
    reading_.notes.push_back(fmt::format("{}: now {}; please rename it", entry.typed, renamed.to));
    problems_.written_as(std::string(renamed.to), entry.typed);
  }

  // The truth value of an older flag; says what is wrong if it is none.
  std::optional<bool> truth_of(const Entry& entry) {
    bool value = false;
    const Field field{entry.key, &value, "", {}};
    if (const auto wrong = assign(field, entry.value)) {
      problems_.add(fmt::format("{}: {}", entry.typed, *wrong));
      return std::nullopt;
    }
    return value;
  }

  void apply_renamed(const RenamedKey& renamed, const Entry& entry) {
    using enum RenamedKey::Meaning;
    const Field* field = known_.find(renamed.to);
    switch (renamed.meaning) {
      case kMoved:
        note_rename(renamed, entry);
        return put(*field, entry.typed, entry.value);
      case kInverted:
        note_rename(renamed, entry);
        if (const auto value = truth_of(entry)) put(*field, entry.typed, !*value);
        return;
      case kChoice:
        note_rename(renamed, entry);
        if (const auto value = truth_of(entry)) {
          const std::string_view choice = *value ? renamed.if_true : renamed.if_false;
          if (!choice.empty()) put(*field, entry.typed, Word{std::string(choice)});
        }
        return;
      case kDropped:
        reading_.notes.push_back(fmt::format("{}: has no effect any more; please remove it", entry.typed));
        return;
      case kOnly: {
        std::string value;
        const bool is_text = !assign(Field{entry.key, &value, "", {}}, entry.value);
        if (is_text && value == renamed.if_true) {
          reading_.notes.push_back(fmt::format("{}: has no effect any more; please remove it", entry.typed));
        } else {
          problems_.add(fmt::format("{}: expected \"{}\", the only one there is, got {}; see {}", entry.typed,
                                    renamed.if_true, is_text ? value : "another type", renamed.to));
        }
        return;
      }
      case kRefused:
        problems_.add(fmt::format("{}: is not a key any more; use {}", entry.typed, renamed.to));
        return;
    }
  }

  const KnownKeys& known_;
  Reading& reading_;
  Problems& problems_;
};

// Keys of TorchTitan 0.2.2 that only stand for others.
void resolve(Reading& reading) {
  JobConfig& config = reading.config;
  if (config.model.tokenizer_path) {
    reading.notes.push_back("model.tokenizer_path: now model.hf_assets_path; please rename it");
    config.model.hf_assets_path = *std::exchange(config.model.tokenizer_path, std::nullopt);
  }
  if (!config.experimental.custom_args_module.empty() && config.job.custom_config_module.empty()) {
    reading.notes.push_back("experimental.custom_args_module: now job.custom_config_module; please rename it");
    config.job.custom_config_module = std::exchange(config.experimental.custom_args_module, "");
  }
}

void read_file(const std::string& path, Reading& reading, Problems& problems) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) {
    problems.add(fmt::format("job.config_file: cannot read {}; give the path of a TOML file", path));
    return;
  }
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  read_toml(text, path, reading, problems);
}

// TorchTitan's test dataset brings its place, relative to the current directory.
void fill_in_dataset_path(std::string_view dataset, std::optional<std::string>& path) {
  if (dataset == "c4_test" && !path) path = "tests/assets/c4_test";
}

}  // namespace

void read_toml(std::string_view text, std::string_view source, Reading& reading, Problems& problems) {
  const KnownKeys known(reading.config);
  Writer(known, reading, problems).apply_all(toml_entries(text, source, problems));
  resolve(reading);
}

Reading read(const std::vector<std::string>& arguments, Problems& problems) {
  Reading reading;
  const KnownKeys known(reading.config);
  const std::vector<Entry> entries = command_line_entries(arguments, known, reading, problems);

  std::optional<std::string> file;
  for (const Entry& entry : entries) {
    const Word* word = std::get_if<Word>(&entry.value);
    if (entry.key == "job.config_file" && word != nullptr) file = word->text;
  }
  if (file) read_file(*file, reading, problems);

  Writer writer(known, reading, problems);
  for (const Entry& entry : entries) writer.apply(entry);
  resolve(reading);
  fill_in_dataset_path(reading.config.training.dataset, reading.config.training.dataset_path);
  return reading;
}

}  // namespace titan::config
