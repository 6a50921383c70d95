// What is said, and returned, about the ranks of a job that failed: who was first, who followed, who stood still.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "titan/launch/rank_process.h"

namespace titan::launch {

// How one rank of a failed job ended.
struct RankEnd {
  int64_t rank = 0;
  int64_t order = 0;         // 0 for the rank that ended first, then 1, ...
  bool told_to_end = false;  // by the launcher, because another one had failed
  int stopped_by = 0;        // the signal that had stopped it when the job failed; 0 if it was running
  Ending ending;
  std::string first_error;  // "" if it said none
};

// The ranks that failed of themselves, the likely cause first: an error that is only another rank's absence (a closed
// connection, a timeout) comes after one that is not, even if its process was gone sooner.
std::vector<RankEnd> failed_by_themselves(std::vector<RankEnd> ends);

// One line for each rank that stood still, then for each that failed of itself (ranks that failed in the same way share
// one), then one for those that were ended.
std::vector<std::string> failure_lines(const std::vector<RankEnd>& ends);

// The exit code of the rank that failed first, if it is 1 to 123, else 1; 0 if none failed of itself.
int exit_code_of(const std::vector<RankEnd>& ends);

}  // namespace titan::launch
