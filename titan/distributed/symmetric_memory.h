// Collectives in parts (partwise.h) through memory that the GPUs of one host read from one another: c10d's symmetric
// memory. Copies run on a stream of their own, by the copy engines, so that products keep all of the processors; NCCL's
// messages would take some of them. Part of libtitan_cuda.so.
#pragma once

#include <memory>

#include "titan/distributed/backend.h"
#include "titan/distributed/partwise.h"

namespace titan::distributed {

// For the group of `request`, whose ranks each have one GPU, the current one. Null, on all ranks, where they are on
// several hosts or a GPU cannot reach another's memory. Collective; so is everything made of the result.
std::shared_ptr<Partwise> make_symmetric_partwise(const BackendRequest& request);

}  // namespace titan::distributed
