#include "titan/config/raw_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

namespace titan::config {
namespace {

// Text of `value` for a message.
std::string shown(const RawValue& value) {
  struct Shown {
    std::string operator()(bool v) { return v ? "true" : "false"; }
    std::string operator()(int64_t v) { return fmt::format("{}", v); }
    std::string operator()(double v) {
      std::string text = fmt::format("{}", v);
      return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
    }
    std::string operator()(const std::string& v) { return fmt::format("\"{}\"", v); }
    std::string operator()(const Strings& v) { return fmt::format("a list of {}", v.size()); }
    std::string operator()(const std::vector<Strings>& v) { return fmt::format("a list of {} lists", v.size()); }
    std::string operator()(const Word& v) { return fmt::format("\"{}\"", v.text); }
    std::string operator()(const Unusable& v) { return v.text; }
  };
  return std::visit(Shown{}, value);
}

template <class Number>
bool read_number(std::string_view text, Number& out) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

// "a,b" -> {a, b}; "" -> {}.
Strings split(std::string_view text, char separator) {
  Strings parts;
  if (text.empty()) return parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

bool take(const RawValue& raw, bool& out) {
  if (const bool* value = std::get_if<bool>(&raw)) return out = *value, true;
  if (const Word* word = std::get_if<Word>(&raw)) {
    if (word->text == "true" || word->text == "True") return out = true, true;
    if (word->text == "false" || word->text == "False") return out = false, true;
  }
  return false;
}

bool take(const RawValue& raw, int64_t& out) {
  if (const int64_t* value = std::get_if<int64_t>(&raw)) return out = *value, true;
  const Word* word = std::get_if<Word>(&raw);
  return word != nullptr && read_number(word->text, out);
}

bool take(const RawValue& raw, double& out) {
  if (const double* value = std::get_if<double>(&raw)) return out = *value, true;
  if (const int64_t* value = std::get_if<int64_t>(&raw)) return out = static_cast<double>(*value), true;
  const Word* word = std::get_if<Word>(&raw);
  return word != nullptr && read_number(word->text, out);
}

bool take(const RawValue& raw, std::string& out) {
  if (const std::string* value = std::get_if<std::string>(&raw)) return out = *value, true;
  if (const Word* word = std::get_if<Word>(&raw)) return out = word->text, true;
  return false;
}

bool take(const RawValue& raw, Strings& out) {
  if (const Strings* value = std::get_if<Strings>(&raw)) return out = *value, true;
  // Older files wrote lists as one text: converters = "float8".
  if (const std::string* value = std::get_if<std::string>(&raw)) return out = split(*value, ','), true;
  if (const Word* word = std::get_if<Word>(&raw)) return out = split(word->text, ','), true;
  return false;
}

bool take(const RawValue& raw, std::vector<Strings>& out) {
  if (const auto* value = std::get_if<std::vector<Strings>>(&raw)) return out = *value, true;
  if (const Strings* value = std::get_if<Strings>(&raw); value != nullptr && value->empty()) return out.clear(), true;
  if (const Word* word = std::get_if<Word>(&raw)) {
    out.clear();
    for (const std::string& part : split(word->text, ';')) out.push_back(split(part, ','));
    return true;
  }
  return false;
}

template <class T>
bool take(const RawValue& raw, std::optional<T>& out) {
  // TOML has no word for nothing, so there too it is "None".
  const Word* word = std::get_if<Word>(&raw);
  const std::string* text = std::get_if<std::string>(&raw);
  if ((word != nullptr && word->text == "None") || (text != nullptr && *text == "None")) return out.reset(), true;
  T value{};
  if (!take(raw, value)) return false;
  out = std::move(value);
  return true;
}

bool equal_in_any_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// Gives a choice the letters of the field list.
void spell(const Field& field) {
  std::string* const* text = std::get_if<std::string*>(&field.value);
  if (text == nullptr) return;
  for (const std::string_view choice : field.attributes.choices) {
    if (equal_in_any_case(**text, choice)) **text = choice;
  }
}

std::string_view article_of(std::string_view type) {
  if (type == "true or false" || type == "text") return "";
  return type == "integer" ? "an " : "a ";
}

}  // namespace

std::optional<std::string> assign(const Field& field, const RawValue& value) {
  const bool taken = std::visit(
      [&](auto* out) {
        auto read = *out;  // what is read in part must not be kept
        if (!take(value, read)) return false;
        *out = std::move(read);
        return true;
      },
      field.value);
  if (taken) {
    if (field.attributes.any_case) spell(field);
    return std::nullopt;
  }
  const std::string_view type = type_of(field);
  std::string wrong = fmt::format("expected {}{}, got {}", article_of(type), type, shown(value));
  const bool is_scalar = std::holds_alternative<bool>(value) || std::holds_alternative<int64_t>(value) ||
                         std::holds_alternative<double>(value);
  if (type == "text" && is_scalar) wrong += fmt::format("; write it in quotes, as \"{}\"", shown(value));
  return wrong;
}

}  // namespace titan::config
