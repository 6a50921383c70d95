// Reads a configuration out of texts, for the tests of this folder: no file, no environment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "titan/config/reader.h"

namespace titan::config {

struct ReadText {
  Problems problems;
  Reading reading;
};

inline ReadText from_flags(const std::vector<std::string>& arguments) {
  ReadText result;
  result.reading = read(arguments, result.problems);
  return result;
}

inline ReadText from_toml(std::string_view text) {
  ReadText result;
  read_toml(text, "test.toml", result.reading, result.problems);
  return result;
}

// All lines, for comparing and for showing.
inline std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

}  // namespace titan::config
