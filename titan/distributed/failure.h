// The one line that says of an operation between ranks why it failed: what it was, who is to blame, who waited for how
// long, and the backend's own words.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

namespace titan::distributed {

class Heartbeat;

// `operation`, begun at `begin` by rank `rank` among `ranks` (of the job), ended in `error`. Throws c10::Error, after
// the time that Heartbeat::blame takes. `heartbeat` may be null.
[[noreturn]] void throw_failure(const std::string& operation, const std::vector<int64_t>& ranks, int64_t rank,
                                std::chrono::steady_clock::time_point begin, Heartbeat* heartbeat,
                                const std::exception& error);

}  // namespace titan::distributed
