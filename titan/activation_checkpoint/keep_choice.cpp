#include "titan/activation_checkpoint/keep_choice.h"

#include <algorithm>

namespace titan::activation_checkpoint {

KeepChoice best_to_keep(const std::vector<Candidate>& candidates, int64_t max_bytes) {
  constexpr int64_t kParts = 4096;
  const int64_t unit = std::max<int64_t>(1, max_bytes / kParts);
  const int64_t capacity = std::max<int64_t>(0, max_bytes) / unit;

  // saved[c]: the most seconds that `c` units can save with the candidates so far; taken[i][c]: whether i is among
  // them.
  std::vector<double> saved(capacity + 1, 0);
  std::vector<std::vector<bool>> taken(candidates.size(), std::vector<bool>(capacity + 1, false));
  const auto units_of = [&](const Candidate& candidate) { return (candidate.bytes + unit - 1) / unit; };
  for (size_t i = 0; i < candidates.size(); ++i) {
    const int64_t units = units_of(candidates[i]);
    for (int64_t c = capacity; c >= units; --c) {
      const double with = saved[c - units] + candidates[i].seconds;
      if (with <= saved[c]) continue;
      saved[c] = with;
      taken[i][c] = true;
    }
  }

  KeepChoice choice{.keeps = std::vector<bool>(candidates.size(), false)};
  int64_t left = capacity;
  for (size_t i = candidates.size(); i-- > 0;) {
    if (taken[i][left]) {
      choice.keeps[i] = true;
      choice.bytes += candidates[i].bytes;
      left -= units_of(candidates[i]);
    } else {
      choice.seconds += candidates[i].seconds;
    }
  }
  return choice;
}

}  // namespace titan::activation_checkpoint
