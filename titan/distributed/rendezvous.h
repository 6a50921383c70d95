// How the ranks of a job find each other: the store at MASTER_ADDR:MASTER_PORT, and the roll call in it. Afterwards
// every rank knows that all are there, each number once, and agree on how many they are.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <string>

#include "titan/distributed/rank_info.h"

namespace c10d {
class Store;
}

namespace titan::distributed {

// Whether this process serves the store that the ranks meet in.
bool serves_store(const RankInfo& info);

// Serves the store, or connects to the one that is served; keys are this run's alone (torchrun's agent keeps its
// store over restarts). Throws c10::ValueError naming MASTER_ADDR or MASTER_PORT: at once if the address cannot be
// resolved or does not lead back here, or the port is taken; after `timeout` if nobody serves a store there.
c10::intrusive_ptr<c10d::Store> open_store(const RankInfo& info, std::chrono::milliseconds timeout);

// Collective: returns when all ranks have called it. Returns this machine's address as the other ranks reach it:
// 127.0.0.1 if all are on one machine. Throws on every rank, the same line: c10::ValueError at once if a rank is there
// twice or the ranks disagree on the world size; c10::Error naming the ranks that are missing at `deadline`, which ends
// the `timeout` that the message gives.
std::string roll_call(c10d::Store& store, const RankInfo& info, std::chrono::milliseconds timeout,
                      std::chrono::steady_clock::time_point deadline);

}  // namespace titan::distributed
