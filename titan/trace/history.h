// What a rank, or a channel, would do next, going by what it did before: training repeats itself every step. A guess,
// which decides where two ranks contradict each other and nothing else tells who is wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace titan::trace {

// Operations that are alike have the same number.
using Stream = std::vector<int64_t>;

// What follows `past`: what followed the longest part of it that equals its end, the last time. Nothing if its end
// never occurred before.
std::optional<int64_t> expected_next(std::span<const int64_t> past);

struct Departure {
  size_t place = 0;      // of the first number that differs
  int64_t expected = 0;  // what stood there before
  bool operator==(const Departure&) const = default;
};

// Where `stream` departed last from what it did before, after having repeated itself for `least_run` at least. Nothing
// if it never did.
std::optional<Departure> last_departure(const Stream& stream, size_t least_run = 8);

}  // namespace titan::trace
