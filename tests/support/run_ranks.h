// Ranks as threads of one process, for tests that only need ranks to talk.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "titan/distributed/world.h"

namespace titan::test {

struct RanksOptions {
  std::chrono::milliseconds timeout{std::chrono::seconds(30)};  // of each operation between ranks
  std::chrono::milliseconds limit{std::chrono::seconds(120)};   // of everything; then the test program ends with 124
  distributed::BackendFactory make_backend;                     // instead of the one named
};

// Runs `body` once per rank, each on a thread of its own with a World of `num_ranks`. backend: by name; "staged" is
// distributed::staged_over shm. What a rank throws is a failure
// of the test that names the rank.
void run_ranks(int64_t num_ranks, const std::string& backend,
               const std::function<void(std::shared_ptr<distributed::World>)>& body, const RanksOptions& options = {});

}  // namespace titan::test
