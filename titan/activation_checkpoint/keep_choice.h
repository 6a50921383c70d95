// Which results to keep within a bound on memory so that least time goes into computing them again: a 0-1 knapsack.
#pragma once

#include <cstdint>
#include <vector>

namespace titan::activation_checkpoint {

// The results of one operator of a forward.
struct Candidate {
  double seconds = 0;  // that it takes to compute them
  int64_t bytes = 0;   // that they occupy
};

struct KeepChoice {
  std::vector<bool> keeps;  // by candidate
  double seconds = 0;       // that go into computing the others again
  int64_t bytes = 0;        // that are kept, never more than the bound
};

// By dynamic programming over 4096 parts of the bound, sizes being rounded up: the optimum but for that rounding.
KeepChoice best_to_keep(const std::vector<Candidate>& candidates, int64_t max_bytes);

}  // namespace titan::activation_checkpoint
