// The only file that includes toml++, which costs seconds to compile.
#include <fmt/format.h>

#include <toml++/toml.h>

#include "titan/config/raw_value.h"

namespace titan::config {
namespace {

std::optional<Strings> texts_of(const toml::array& array) {
  Strings texts;
  for (const toml::node& element : array) {
    const auto text = element.value_exact<std::string>();
    if (!text) return std::nullopt;
    texts.push_back(*text);
  }
  return texts;
}

RawValue value_of(const toml::node& node) {
  if (const auto value = node.value_exact<bool>()) return *value;
  if (const auto value = node.value_exact<int64_t>()) return *value;
  if (const auto value = node.value_exact<double>()) return *value;
  if (auto value = node.value_exact<std::string>()) return *std::move(value);
  const toml::array* array = node.as_array();
  if (array == nullptr) return Unusable{"a date or time"};
  if (auto texts = texts_of(*array)) return *std::move(texts);
  std::vector<Strings> lists;
  for (const toml::node& element : *array) {
    if (element.is_table()) return Unusable{"a list of tables"};
    if (element.as_array() == nullptr) return Unusable{"a list of other values"};
    auto texts = texts_of(*element.as_array());
    if (!texts) return Unusable{"a list of lists of other values"};
    lists.push_back(*std::move(texts));
  }
  return lists;
}

void collect(const toml::table& table, const std::string& prefix, std::vector<Entry>& entries) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix.empty() ? std::string(name.str()) : fmt::format("{}.{}", prefix, name.str());
    if (const toml::table* inner = node.as_table()) {
      collect(*inner, key, entries);
    } else {
      entries.push_back({key, key, value_of(node)});
    }
  }
}

}  // namespace

std::vector<Entry> toml_entries(std::string_view text, std::string_view source, Problems& problems) {
  std::vector<Entry> entries;
  try {
    collect(toml::parse(text), "", entries);
  } catch (const toml::parse_error& error) {
    std::string what(error.description());
    for (char& c : what) {
      if (c == '\n') c = ' ';
    }
    problems.add(fmt::format("job.config_file: {}:{}:{}: not TOML: {}", source, error.source().begin.line,
                             error.source().begin.column, what));
  }
  return entries;
}

}  // namespace titan::config
