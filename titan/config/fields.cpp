#include "titan/config/fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <type_traits>

#include "titan/config/scaling_fields.h"
#include "titan/config/training_fields.h"

namespace titan::config {
namespace {

// Walks nested structs; every leaf becomes a row.
struct TableMaker {
  std::vector<Field>& table;
  std::string prefix;

  template <class Member>
  void operator()(std::string_view name, Member& member, std::string_view help, const Attributes& attributes = {}) {
    const std::string key = prefix.empty() ? std::string(name) : fmt::format("{}.{}", prefix, name);
    if constexpr (std::is_aggregate_v<Member>) {
      visit_fields(member, TableMaker{table, key});
    } else {
      table.push_back({key, &member, help, attributes});
    }
  }
};

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string toml_of(bool value) { return value ? "true" : "false"; }
std::string toml_of(int64_t value) { return fmt::format("{}", value); }
std::string toml_of(double value) {
  std::string text = fmt::format("{}", value);  // the shortest text that reads back to the same double
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}
std::string toml_of(const std::string& value) { return quoted(value); }
template <class Element>
std::string toml_of(const std::vector<Element>& values) {
  std::string text = "[";
  for (const Element& value : values) text += (text.size() > 1 ? ", " : "") + toml_of(value);
  return text + "]";
}

std::string number_text(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e18) return fmt::format("{}", static_cast<int64_t>(value));
  return fmt::format("{}", value);
}

// Larger bounds only keep products in int64_t, which nobody wants to read of.
bool mentions_high(const Attributes& attributes) { return attributes.high && *attributes.high < kMaxDegree; }

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

std::optional<std::string> wrong_number(double value, const Attributes& attributes, std::string got) {
  if (attributes.special && value == *attributes.special) return std::nullopt;
  const bool low_ok = !attributes.low || (attributes.low_is_open ? value > *attributes.low : value >= *attributes.low);
  const bool high_ok =
      !attributes.high || (attributes.high_is_open ? value < *attributes.high : value <= *attributes.high);
  const bool finite_ok = std::isfinite(value) || (attributes.may_be_infinite && std::isinf(value));
  if (low_ok && high_ok && finite_ok) return std::nullopt;
  std::string range = describe_range(attributes);
  if (low_ok && attributes.high && !mentions_high(attributes)) {
    range = fmt::format("at most {}", number_text(*attributes.high));
  }
  return fmt::format("must be {}, got {}", range.empty() ? "finite" : range, got);
}

std::optional<std::string> wrong_text(const std::string& value, const Attributes& attributes) {
  if (attributes.choices.empty()) return std::nullopt;
  if (std::find(attributes.choices.begin(), attributes.choices.end(), value) != attributes.choices.end()) {
    return std::nullopt;
  }
  return fmt::format("must be {}, got {}", describe_range(attributes), quoted(value));
}

std::optional<std::string> wrong_value(bool, const Attributes&) { return std::nullopt; }
std::optional<std::string> wrong_value(int64_t value, const Attributes& attributes) {
  return wrong_number(static_cast<double>(value), attributes, toml_of(value));
}
std::optional<std::string> wrong_value(double value, const Attributes& attributes) {
  return wrong_number(value, attributes, fmt::format("{}", value));
}
std::optional<std::string> wrong_value(const std::string& value, const Attributes& attributes) {
  return wrong_text(value, attributes);
}
std::optional<std::string> wrong_value(const Strings& values, const Attributes& attributes) {
  for (const std::string& value : values) {
    if (auto wrong = wrong_text(value, attributes)) return wrong;
  }
  return std::nullopt;
}
std::optional<std::string> wrong_value(const std::vector<Strings>&, const Attributes&) { return std::nullopt; }

}  // namespace

std::vector<Field> fields_of(JobConfig& config) {
  std::vector<Field> table;
  table.reserve(256);
  TableMaker section{table, ""};
  section("job", config.job, "");
  section("profiling", config.profiling, "");
  section("metrics", config.metrics, "");
  section("model", config.model, "");
  section("optimizer", config.optimizer, "");
  section("lr_scheduler", config.lr_scheduler, "");
  section("training", config.training, "");
  section("parallelism", config.parallelism, "");
  section("checkpoint", config.checkpoint, "");
  section("activation_checkpoint", config.activation_checkpoint, "");
  section("compile", config.compile, "");
  section("quantize", config.quantize, "");
  section("comm", config.comm, "");
  section("memory_estimation", config.memory_estimation, "");
  section("fault_tolerance", config.fault_tolerance, "");
  section("experimental", config.experimental, "");
  section("validation", config.validation, "");
  section("debug", config.debug, "");
  section("data", config.data, "");
  return table;
}

std::string_view type_of(const Field& field) {
  struct Name {
    std::string_view operator()(const bool*) { return "true or false"; }
    std::string_view operator()(const int64_t*) { return "integer"; }
    std::string_view operator()(const double*) { return "number"; }
    std::string_view operator()(const std::string*) { return "text"; }
    std::string_view operator()(const Strings*) { return "list of texts"; }
    std::string_view operator()(const std::optional<bool>*) { return "true or false"; }
    std::string_view operator()(const std::optional<int64_t>*) { return "integer"; }
    std::string_view operator()(const std::optional<double>*) { return "number"; }
    std::string_view operator()(const std::optional<std::string>*) { return "text"; }
    std::string_view operator()(const std::optional<std::vector<Strings>>*) { return "list of lists of texts"; }
  };
  return std::visit(Name{}, field.value);
}

std::optional<std::string> to_toml(const Field& field) {
  return std::visit(
      [](const auto* value) -> std::optional<std::string> {
        if constexpr (IsOptional<std::remove_cvref_t<decltype(*value)>>::value) {
          if (!value->has_value()) return std::nullopt;
          return toml_of(**value);
        } else {
          return toml_of(*value);
        }
      },
      field.value);
}

bool same_value(const Field& a, const Field& b) {
  return std::visit(
      [&](const auto* left) {
        using Pointer = std::remove_const_t<std::remove_pointer_t<decltype(left)>>*;
        const auto* right = std::get_if<Pointer>(&b.value);
        return right != nullptr && *left == **right;
      },
      a.value);
}

const Field& find_field(const std::vector<Field>& fields, std::string_view key) {
  return *std::find_if(fields.begin(), fields.end(), [&](const Field& field) { return field.key == key; });
}

bool is_on(const Field& field) {
  struct On {
    bool operator()(bool value) { return value; }
    bool operator()(int64_t value) { return value > 1; }
    bool operator()(double value) { return value > 0; }
    bool operator()(const std::string& value) { return !value.empty() && value != "none" && value != "disabled"; }
    bool operator()(const Strings& values) { return !values.empty(); }
    bool operator()(const std::vector<Strings>& values) { return !values.empty(); }
  };
  return std::visit(
      [](const auto* value) {
        if constexpr (IsOptional<std::remove_cvref_t<decltype(*value)>>::value) {
          return value->has_value() && On{}(**value);
        } else {
          return On{}(*value);
        }
      },
      field.value);
}

std::string describe_range(const Attributes& attributes) {
  if (!attributes.choices.empty()) {
    if (attributes.choices.size() == 1) return quoted(attributes.choices.front());
    return fmt::format("one of {}", fmt::join(attributes.choices, ", "));
  }
  std::string text;
  if (attributes.low && mentions_high(attributes)) {
    text = fmt::format("{} {} {} {}", attributes.low_is_open ? "above" : "from", number_text(*attributes.low),
                       attributes.high_is_open ? "to below" : "to", number_text(*attributes.high));
  } else if (attributes.low) {
    text = fmt::format("{} {}", attributes.low_is_open ? "above" : "at least", number_text(*attributes.low));
  } else if (mentions_high(attributes)) {
    text = fmt::format("{} {}", attributes.high_is_open ? "below" : "at most", number_text(*attributes.high));
  }
  if (attributes.special) text += fmt::format(" or {}", number_text(*attributes.special));
  return text;
}

std::optional<std::string> out_of_range(const Field& field) {
  return std::visit(
      [&](const auto* value) -> std::optional<std::string> {
        if constexpr (IsOptional<std::remove_cvref_t<decltype(*value)>>::value) {
          if (!value->has_value()) return std::nullopt;
          return wrong_value(**value, field.attributes);
        } else {
          return wrong_value(*value, field.attributes);
        }
      },
      field.value);
}

}  // namespace titan::config
