#include "titan/config/nearest.h"

#include <algorithm>
#include <limits>

namespace titan::config {
namespace {

std::string_view leaf_of(std::string_view key) { return key.substr(key.rfind('.') + 1); }

}  // namespace

size_t edit_distance(std::string_view a, std::string_view b) {
  // Rows of the usual table: two before, one before, this one.
  std::vector<size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string_view nearest_key(std::string_view key, const std::vector<std::string_view>& known) {
  constexpr size_t kLongestWorthComparing = 200;
  key = key.substr(0, kLongestWorthComparing);
  std::string_view nearest;
  size_t nearest_distance = std::numeric_limits<size_t>::max();
  for (const std::string_view candidate : known) {
    // A right name in a wrong section: two edits away, so that a typing slip in the right section wins.
    const size_t in_other_section = edit_distance(leaf_of(key), leaf_of(candidate)) * 3 + 2;
    const size_t distance = std::min(edit_distance(key, candidate), in_other_section);
    if (distance < nearest_distance) {
      nearest = candidate;
      nearest_distance = distance;
    }
  }
  return nearest;
}

}  // namespace titan::config
