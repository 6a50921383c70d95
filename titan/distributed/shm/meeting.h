// How the ranks of a group come to share memory: each publishes the address of its segment in the group's store, maps
// those of all, and says whether it could. So all know, and agree on, whether they do.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "titan/distributed/backend.h"
#include "titan/distributed/shm/links.h"

namespace titan::distributed::shm {

// Collective over the group. Whether all its ranks may see each other's memory: one boot of one machine, one space of
// process ids, one user. A few calls of the store for each rank, however many they are.
bool on_one_host(const BackendRequest& request);

// Collective over the group. On every rank the links, or on every rank the same reason why there are none.
struct Meeting {
  std::unique_ptr<Links> links;
  std::string why_not;
};
Meeting meet(const BackendRequest& request);

}  // namespace titan::distributed::shm
