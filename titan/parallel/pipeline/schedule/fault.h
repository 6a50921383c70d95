// What is wrong with a schedule, and where.
#pragma once

#include <cstdint>
#include <string>

namespace titan::pipeline {

struct Fault {
  int64_t rank;
  int64_t position;     // among the rank's actions, from 0; kWholeRank: no single action is to blame
  std::string message;  // one line, without the place

  static constexpr int64_t kWholeRank = -1;
};

}  // namespace titan::pipeline
