// What a rank finds in its environment: the launcher's own environment, torchrun's variables, its share of the cores.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace titan::launch {

struct LaunchOptions;

// "NAME=value" for every variable of the rank with this local rank, each once, sorted. They are this process's own (but
// TORCHELASTIC_*); over them RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, GROUP_RANK and NODE_RANK (the machine's),
// MASTER_ADDR, MASTER_PORT, and, unless it is set, OMP_NUM_THREADS = num_cores / ranks on this machine, at least 1;
// over them options.environment.
std::vector<std::string> rank_environment(const LaunchOptions& options, int64_t local_rank, int64_t master_port,
                                          int64_t num_cores);

}  // namespace titan::launch
