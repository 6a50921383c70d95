#include "titan/launch/rank_environment.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "titan/launch/launch.h"

namespace titan::launch {

std::vector<std::string> rank_environment(const LaunchOptions& options, int64_t local_rank, int64_t master_port,
                                          int64_t num_cores) {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    // What torchrun says of a job that this one may run inside of is not true of this one.
    if (equals != std::string_view::npos && !text.starts_with("TORCHELASTIC_")) {
      variables.emplace(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
    }
  }
  const auto set = [&](const char* name, int64_t value) { variables[name] = std::to_string(value); };
  set("RANK", options.node_rank * options.nproc_per_node + local_rank);
  set("LOCAL_RANK", local_rank);
  set("WORLD_SIZE", options.num_nodes * options.nproc_per_node);
  set("LOCAL_WORLD_SIZE", options.nproc_per_node);
  set("GROUP_RANK", options.node_rank);
  set("NODE_RANK", options.node_rank);
  variables["MASTER_ADDR"] = options.master_addr;
  set("MASTER_PORT", master_port);
  // Threads, not an affinity mask: two ranks that share cores by the system's choice lose nothing, while a mask would
  // also bind the threads of the data path, and be wrong on machines that other jobs use.
  if (variables["OMP_NUM_THREADS"].empty()) {
    set("OMP_NUM_THREADS", std::max<int64_t>(1, num_cores / options.nproc_per_node));
  }
  for (const auto& [name, value] : options.environment) variables[name] = value;

  std::vector<std::string> entries;
  entries.reserve(variables.size());
  for (const auto& [name, value] : variables) entries.push_back(fmt::format("{}={}", name, value));
  return entries;
}

}  // namespace titan::launch
