// A value as its source wrote it, before it is known which key's type it must have: what the command line and the TOML
// file have in common on their way into a Field.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "titan/config/fields.h"
#include "titan/config/problems.h"

namespace titan::config {

// A word of the command line: its type is what the key wants it to be.
struct Word {
  std::string text;
};

// TOML that no key takes (a date, a list of numbers); `text` describes it.
struct Unusable {
  std::string text;
};

using RawValue = std::variant<bool, int64_t, double, std::string, Strings, std::vector<Strings>, Word, Unusable>;

struct Entry {
  std::string key;    // with underscores
  std::string typed;  // as the user wrote it
  RawValue value;
};

// The leaves of a TOML text as dotted keys. A text that does not parse adds a line that names `source` and the place.
std::vector<Entry> toml_entries(std::string_view text, std::string_view source, Problems& problems);

// Puts `value` where `field` keeps it. What does not fit leaves the field alone and returns what is wrong:
// "expected an integer, got \"ten\"".
std::optional<std::string> assign(const Field& field, const RawValue& value);

}  // namespace titan::config
