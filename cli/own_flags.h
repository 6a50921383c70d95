// Flags that a verb has beside those of `titan train`, which it takes out of its arguments before the rest is read as a
// job. It knows no verb.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cli/verbs.h"

namespace titan::cli {

// The value of the flag `name` where arguments[index] is that flag: behind its '=', or the next argument, to which
// `index` moves. Nothing where it is another argument. Throws c10::ValueError where the value is missing.
std::optional<std::string> value_of_flag(std::string_view name, const Arguments& arguments, size_t& index);

// A number of at least 1. Throws c10::ValueError, one line that begins with `name`, on any other text.
int64_t read_count(std::string_view name, std::string_view text);

}  // namespace titan::cli
