#include "titan/config/problems.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>

namespace titan::config {

namespace {
constexpr size_t kMaxLines = 12;
}

void Problems::written_as(std::string key, std::string typed) { typed_[std::move(key)] = std::move(typed); }

void Problems::add(std::string line) {
  const size_t colon = line.find(':');
  if (const auto typed = typed_.find(line.substr(0, colon)); colon != std::string::npos && typed != typed_.end()) {
    line = fmt::format("{} (now {}){}", typed->second, typed->first, line.substr(colon));
  }
  // One cause can be met twice (the reader and a check); the line is shown once.
  if (std::find(lines_.begin(), lines_.end(), line) == lines_.end()) lines_.push_back(std::move(line));
}

void Problems::throw_if_any() const {
  if (lines_.empty()) return;
  const size_t shown = lines_.size() <= kMaxLines ? lines_.size() : kMaxLines - 1;
  std::string text;
  for (size_t i = 0; i < shown; ++i) {
    if (i > 0) text += '\n';
    text += lines_[i];
  }
  if (shown < lines_.size()) text += fmt::format("\n... and {} more problems", lines_.size() - shown);
  TORCH_CHECK_VALUE(false, text);
}

}  // namespace titan::config
