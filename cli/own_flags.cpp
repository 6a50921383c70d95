#include "cli/own_flags.h"

#include <c10/util/Exception.h>

#include <charconv>

namespace titan::cli {

std::optional<std::string> value_of_flag(std::string_view name, const Arguments& arguments, size_t& index) {
  const std::string& argument = arguments[index];
  if (argument.starts_with(name) && argument.size() > name.size() && argument[name.size()] == '=') {
    return argument.substr(name.size() + 1);
  }
  if (argument != name) return std::nullopt;
  TORCH_CHECK_VALUE(index + 1 < arguments.size(), name, ": expected a value after it, got none");
  return arguments[++index];
}

int64_t read_count(std::string_view name, std::string_view text) {
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  TORCH_CHECK_VALUE(error == std::errc() && end == text.data() + text.size() && count >= 1, name,
                    ": expected a number of at least 1, got '", text, "'");
  return count;
}

}  // namespace titan::cli
