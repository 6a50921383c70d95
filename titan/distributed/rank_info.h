// Who this process is among the ranks of a job, read from the variables that its starter set: torchrun or `titan
// launch` (RANK, WORLD_SIZE, ...), mpirun (OMPI_COMM_WORLD_*, PMI_*) or srun (SLURM_*). Nothing here talks to anybody.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace titan::distributed {

struct RankInfo {
  int64_t rank = 0;
  int64_t local_rank = 0;  // among the ranks of this machine
  int64_t world_size = 1;
  int64_t local_world_size = 1;
  // Where the ranks meet: rank 0's machine. Unused in a world of one.
  std::string master_addr = "127.0.0.1";
  int64_t master_port = 0;
  // torchrun's agent serves the store at that address itself, and keeps it over restarts.
  bool agent_hosts_store = false;
  int64_t restart_count = 0;
};

// Throws c10::ValueError, one line that names the variable, where one is missing, no number, or contradicts another.
// Without any of these variables: a world of one.
RankInfo rank_info_from_environment();

// The same, from variables looked up by `variable` (null: not set).
RankInfo rank_info_from(const std::function<const char*(const char* name)>& variable);

}  // namespace titan::distributed
