#include "titan/config/availability.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "titan/config/check.h"
#include "titan/config/fields.h"

namespace titan::config {
namespace {

bool is_neutral(const Field& field) {
  const int64_t* const* value = std::get_if<int64_t*>(&field.value);
  return value != nullptr && field.attributes.neutral == static_cast<double>(**value);
}

// The text of a key of few choices; null: it has none, or is unset.
const std::string* choice_of(const Field& field) {
  if (auto* const* const value = std::get_if<std::string*>(&field.value)) return *value;
  auto* const* const value = std::get_if<std::optional<std::string>*>(&field.value);
  return value == nullptr || !(*value)->has_value() ? nullptr : &**(*value);
}

// Whether one of the choices that work is chosen, or none at all where that may be, or none of the choices there are
// (which check() refuses).
bool has_working_choice(const Field& field) {
  if (field.attributes.working.empty()) return false;
  const std::string* choice = choice_of(field);
  if (choice == nullptr) return std::holds_alternative<std::optional<std::string>*>(field.value);
  const auto contains = [&](const Choices& choices) {
    return std::find(choices.begin(), choices.end(), *choice) != choices.end();
  };
  return contains(field.attributes.working) || !contains(field.attributes.choices);
}

std::string advice(const Field& field, const Field& by_default) {
  const Attributes& attributes = field.attributes;
  if (attributes.working.size() > 1) return fmt::format("use one of {}", fmt::join(attributes.working, ", "));
  if (attributes.working.size() == 1) return fmt::format("use {}", attributes.working.front());
  const auto value = to_toml(by_default);
  return value ? fmt::format("leave it at {}", *value) : "leave it out";
}

}  // namespace

void settle_on_available(JobConfig& config, Problems& problems, std::vector<std::string>& notes) {
  JobConfig torchtitan;
  const std::vector<Field> defaults = fields_of(torchtitan);
  const std::vector<Field> fields = fields_of(config);
  for (size_t i = 0; i < fields.size(); ++i) {
    const Field& field = fields[i];
    const Attributes& attributes = field.attributes;
    const bool as_by_default = same_value(field, defaults[i]);
    // A value out of range has a line of its own already.
    if (attributes.state == State::kWorking || has_working_choice(field) || out_of_range(field)) continue;
    if (!attributes.part_of.empty() && !is_on(find_field(fields, attributes.part_of))) continue;

    if (!attributes.open_with.empty() && is_on(find_field(fields, attributes.open_with))) continue;

    if (as_by_default || is_neutral(field)) continue;
    const std::string value = to_toml(field).value_or("none");
    if (attributes.state == State::kAccepted) {
      notes.push_back(fmt::format("{}: {} is accepted, but has no effect yet", field.key, value));
    } else {
      problems.add(fmt::format("{}: {} is not available yet; {}", field.key, value, advice(field, defaults[i])));
    }
  }
}

}  // namespace titan::config
