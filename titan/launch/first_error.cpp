#include "titan/launch/first_error.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace titan::launch {
namespace {

constexpr size_t kMaxLength = 1000;

std::string cut(std::string_view line) {
  const size_t begin = line.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return "";
  line.remove_prefix(begin);
  line = line.substr(0, line.find_last_not_of(" \t\r") + 1);
  return line.size() <= kMaxLength ? std::string(line) : std::string(line.substr(0, kMaxLength)) + "...";
}

// Blank lines, rules of "=====", glog's warnings ([W1123 ...), and what precedes the message of an uncaught exception.
bool is_decoration(std::string_view line) {
  if (std::none_of(line.begin(), line.end(), [](unsigned char c) { return std::isalnum(c) != 0; })) return true;
  const bool glog = line.size() > 2 && line[0] == '[' && std::isdigit(static_cast<unsigned char>(line[2])) != 0;
  return (glog && (line[1] == 'W' || line[1] == 'I')) || line.starts_with("terminate called");
}

bool speaks_of_error(std::string_view line) {
  std::string lower(line.substr(0, kMaxLength));
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  constexpr std::array<std::string_view, 12> kWords{"error",  "exception", "what():", "fatal",
                                                    "fail",   "abort",     "assert",  "expected",
                                                    "cannot", " must ",    ", got ",  "titan train: "};
  return std::any_of(kWords.begin(), kWords.end(),
                     [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

}  // namespace

void FirstError::add_stdout(std::string_view line) {
  if (line.find(" - ERROR - ") != std::string_view::npos) from_stdout_ = cut(line);
}

void FirstError::add_stderr(std::string_view line, Clock::time_point now) {
  if (now - last_ > kPause) {
    speaks_of_error_.clear();
    first_.clear();
  }
  last_ = now;
  if (is_decoration(line)) return;
  if (first_.empty()) first_ = cut(line);
  if (speaks_of_error_.empty() && speaks_of_error(line)) speaks_of_error_ = cut(line);
}

std::string FirstError::line() const {
  if (!speaks_of_error_.empty()) return speaks_of_error_;
  return first_.empty() ? from_stdout_ : first_;
}

}  // namespace titan::launch
