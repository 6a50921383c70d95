#include "titan/trace/history.h"

#include <algorithm>

namespace titan::trace {
namespace {

constexpr size_t kLongest = 4096;  // a step's operations, and then some

// How far back the parts of `past` that end before `i` and before `j` are equal.
size_t common_end(std::span<const int64_t> past, size_t i, size_t j) {
  size_t length = 0;
  while (length < std::min({i, j, kLongest}) && past[i - 1 - length] == past[j - 1 - length]) ++length;
  return length;
}

// The place whose past is most like the end of `past`, the last one of several; 0: none is at all.
size_t place_like_end(std::span<const int64_t> past) {
  size_t best = 0, longest = 0;
  for (size_t i = past.size() - 1; i > 0; --i) {
    const size_t length = common_end(past, i, past.size());
    if (length <= longest) continue;
    longest = length;
    best = i;
    if (length == kLongest) break;
  }
  return best;
}

}  // namespace

std::optional<int64_t> expected_next(std::span<const int64_t> past) {
  if (past.size() < 2) return std::nullopt;
  const size_t place = place_like_end(past);
  if (place == 0) return std::nullopt;
  return past[place];
}

std::optional<Departure> last_departure(const Stream& stream, size_t least_run) {
  std::optional<Departure> departure;
  size_t place = 0, run = 0;  // place: where the past is that repeats itself now; 0: nowhere
  for (size_t i = 1; i < stream.size(); ++i) {
    if (place != 0 && stream[place] == stream[i]) {
      ++place;
      ++run;
      continue;
    }
    if (place != 0 && run >= least_run) departure = Departure{i, stream[place]};
    run = 0;
    place = place_like_end(std::span(stream).first(i + 1));
  }
  return departure;
}

}  // namespace titan::trace
