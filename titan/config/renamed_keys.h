// Keys as TorchTitan v0.1, v0.2.0 and earlier spelled them, so that older files load. Each is read with one line that
// says its new name; what has none is ignored, or refused where ignoring it would train something else.
#pragma once

#include <span>
#include <string_view>

namespace titan::config {

struct RenamedKey {
  enum class Meaning {
    kMoved,     // the same value under the name `to`
    kInverted,  // true became false
    kChoice,    // true and false became the texts if_true and if_false of `to`; an empty text leaves it alone
    kDropped,   // has no effect any more
    kOnly,      // dropped if its value is `if_true`, refused otherwise
    kRefused,   // cannot be translated; `to` is what to use instead
  };
  std::string_view from;
  std::string_view to;
  Meaning meaning = Meaning::kMoved;
  std::string_view if_true = {};
  std::string_view if_false = {};
  bool is_flag = false;  // without `to`: it stands alone on a command line
};

std::span<const RenamedKey> renamed_keys();

// Null if `key` is no older name.
const RenamedKey* find_renamed(std::string_view key);

}  // namespace titan::config
