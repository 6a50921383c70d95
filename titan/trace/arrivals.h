// Who comes last to collectives, and how late: stragglers. Times of different machines compare as well as their clocks.
#pragma once

#include <cstdint>
#include <vector>

#include "titan/trace/verdict.h"

namespace titan::trace {

struct Arrival {
  Place place;
  int64_t first_rank = 0, last_rank = 0;
  int64_t spread_ns = 0;  // from the first to the last
};

// How often a rank was the last of a collective, and by how much it then was later than the one before it.
struct Lateness {
  int64_t rank = 0;
  int64_t num_last = 0;
  int64_t mean_ns = 0;
};

struct Arrivals {
  int64_t num_collectives = 0;     // that all ranks of their group came to, and remember
  std::vector<Arrival> slowest;    // the largest spread first
  std::vector<Lateness> lateness;  // of ranks that ever were last, the most often first
};

Arrivals find_arrivals(const RanksTogether& ranks, size_t num_slowest = 5);

}  // namespace titan::trace
