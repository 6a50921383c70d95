// The keys of a job as a table: for each its dotted name, where its value stands, what it means, which values it may
// take and whether it works yet. Command line, TOML, --help, `titan config` and docs/config.md all come from this
// table, and the table from the lists in *_fields.h. It holds pointers into the JobConfig it was made from.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "titan/config/job_config.h"

namespace titan::config {

// Whether `titan train` honours a key today.
//   kWorking   yes
//   kAccepted  it concerns speed or diagnosis only: read, checked, without effect yet; one warning when it is set
//   kNotYet    it would change numbers, layout or memory: refused by name, unless it asks for nothing
enum class State { kWorking, kAccepted, kNotYet };

using Choices = std::vector<std::string_view>;

// What a field list says about a key beside its meaning. Parts are joined by `|`: at_least(1) | kAccepted.
struct Attributes {
  // Numbers: low <= value <= high; an open end excludes its bound, and `special` is allowed besides.
  std::optional<double> low;
  std::optional<double> high;
  bool low_is_open = false;
  bool high_is_open = false;
  bool may_be_infinite = false;
  std::optional<double> special;

  Choices choices;        // texts; for a list, of each element
  bool any_case = false;  // a choice may be written in other letters; it is kept as it is spelled above
  Choices working;        // of the choices, those that work while the state is kNotYet; the first is the fallback

  State state = State::kWorking;
  std::optional<double> neutral;  // a value that asks for nothing, beside the default (a degree of 1)
  std::string_view part_of;       // a key without which this one has no effect
  std::string_view open_with;     // a key that, when it is on, lets any text pass: choices come from elsewhere
  bool is_ours = false;           // TorchTitan does not have it
};

// `left` with everything that `right` says on top.
Attributes operator|(Attributes left, const Attributes& right);

Attributes at_least(double low);
Attributes above(double low);
Attributes within(double low, double high);
Attributes from_up_to(double low, double end);  // low <= value < end
Attributes special(double value);
Attributes or_infinite();
Attributes one_of(Choices choices);
Attributes any_case();
Attributes accepted();
Attributes not_yet();
Attributes works_with(Choices working);
Attributes neutral(double value);
Attributes part_of(std::string_view key);
Attributes open_with(std::string_view key);
Attributes ours();

using Value =
    std::variant<bool*, int64_t*, double*, std::string*, Strings*, std::optional<bool>*, std::optional<int64_t>*,
                 std::optional<double>*, std::optional<std::string>*, std::optional<std::vector<Strings>>*>;

struct Field {
  std::string key;  // "training.dataloader.num_workers"
  Value value;
  std::string_view help;
  Attributes attributes;
};

// All keys of `config` in the order of the lists. The pointers hold as long as `config` stays where it is.
std::vector<Field> fields_of(JobConfig& config);

// "integer", "number", "text", "true or false", "list of texts": what a value of this key looks like.
std::string_view type_of(const Field& field);

// The value as TOML writes it, or nullopt where it is unset.
std::optional<std::string> to_toml(const Field& field);

// The field of `key`, which must be there.
const Field& find_field(const std::vector<Field>& fields, std::string_view key);

// Whether two fields of the same key hold the same value.
bool same_value(const Field& a, const Field& b);

// Whether the value switches something on: true, a number above 1, a text that is not empty, "none" or "disabled".
bool is_on(const Field& field);

// "at least 0", "one of a, b", or "" where anything of the type goes.
std::string describe_range(const Attributes& attributes);

// What is wrong with the value, as "must be at least 0, got -1", or nullopt. An unset value is never wrong.
std::optional<std::string> out_of_range(const Field& field);

}  // namespace titan::config
