// The collectives and messages over rings, each a task that reads as the algorithm does: in rounds, in each of which
// a rank writes one slot to those that need it, and reads one of theirs. Reading stays a round behind writing, so that
// ranks need not keep step; since a ring holds several rounds, nobody waits for one who waits for him.
// Memory is given as addresses and must stay until the task is over. Nothing here knows tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "titan/distributed/shm/links.h"
#include "titan/distributed/shm/reduce.h"
#include "titan/distributed/shm/task.h"

namespace titan::distributed::shm {

enum class Kind : uint32_t {
  kAllReduce = 1,
  kAllGather,
  kReduceScatter,
  kReduce,
  kBroadcast,
  kAllToAll,
  kScatter,
  kGather,
  kMessage
};

// "all_gather of 4096 bytes".
std::string describe(const Label& label);

struct Part {
  std::byte* data = nullptr;
  int64_t bytes = 0;
};

// In place. `tag` here and below: what must agree beside the size.
Task all_reduce(Links& links, Part x, Reducer reducer, uint32_t tag);

// outputs: one per rank, as long as the input; this rank's may be the input itself. Also a barrier, of no bytes.
Task all_gather(Links& links, Part input, std::vector<std::byte*> outputs, uint32_t tag);

// inputs: one per rank, of its part's size, which the ranks agree on. `output`, as long as this rank's, may be it.
// All parts but one empty: a reduction to one rank.
Task reduce_scatter(Links& links, Kind kind, std::vector<Part> inputs, std::byte* output, Reducer reducer,
                    uint32_t tag);

Task broadcast(Links& links, Part x, int64_t source);

// inputs and outputs: what goes to and comes from each rank; empty ones are not sent. Also a scatter and a gather.
Task all_to_all(Links& links, Kind kind, std::vector<Part> inputs, std::vector<Part> outputs, uint32_t tag);

Task send(Links& links, Part x, int64_t peer, uint32_t tag);
Task receive(Links& links, Part x, int64_t peer, uint32_t tag);

}  // namespace titan::distributed::shm
