// The links of all ranks of a group, in one process.
#pragma once

#include <memory>
#include <vector>

#include "titan/distributed/shm/links.h"

namespace titan::distributed::shm {

std::vector<std::unique_ptr<Links>> links_of_one_process(int64_t num_ranks);

}  // namespace titan::distributed::shm
