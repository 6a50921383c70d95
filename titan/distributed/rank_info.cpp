#include "titan/distributed/rank_info.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "titan/distributed/host_address.h"

namespace titan::distributed {
namespace {

constexpr int64_t kDefaultPort = 29500;  // torchrun's

class Variables {
 public:
  explicit Variables(const std::function<const char*(const char*)>& lookup) : lookup_(lookup) {}

  // A variable that is set but empty counts as not set.
  std::optional<std::string> text(const char* name) const {
    const char* const value = lookup_(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  }

  std::optional<int64_t> number(const char* name) const {
    const auto value = text(name);
    if (!value) return std::nullopt;
    int64_t number = 0;
    const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), number);
    TORCH_CHECK_VALUE(error == std::errc() && end == value->data() + value->size() && number >= 0, name,
                      " (environment): expected a number from 0 on, got '", *value, "'");
    return number;
  }

  int64_t required(const char* name, const char* because_of) const {
    const auto value = number(name);
    TORCH_CHECK_VALUE(value, name, " (environment): expected a number, since ", because_of, " is set, got nothing");
    return *value;
  }

 private:
  const std::function<const char*(const char*)>& lookup_;
};

// The first host of a Slurm list: "node[003-007,9],gpu1" -> "node003".
std::string first_host(std::string_view list) {
  std::string host;
  for (size_t i = 0; i < list.size() && list[i] != ','; ++i) {
    if (list[i] != '[') {
      host += list[i];
      continue;
    }
    for (++i; i < list.size() && list[i] != ',' && list[i] != '-' && list[i] != ']'; ++i) host += list[i];
    i = list.find(']', i);
    if (i == std::string_view::npos) break;
  }
  return host;
}

// How many tasks Slurm puts on a node: "4", or, by runs of nodes, "4(x2),3".
std::optional<int64_t> tasks_on_node(std::string_view list, int64_t node) {
  while (!list.empty()) {
    int64_t tasks = 0, repeats = 1;
    const char* const end = list.data() + list.size();
    auto result = std::from_chars(list.data(), end, tasks);
    if (result.ec != std::errc()) return std::nullopt;
    list.remove_prefix(static_cast<size_t>(result.ptr - list.data()));
    if (list.starts_with("(x")) {
      result = std::from_chars(list.data() + 2, end, repeats);
      if (result.ec != std::errc() || result.ptr == end) return std::nullopt;
      list.remove_prefix(static_cast<size_t>(result.ptr - list.data()) + 1);
    }
    if (node < repeats) return tasks;
    node -= repeats;
    if (list.starts_with(',')) list.remove_prefix(1);
  }
  return std::nullopt;
}

// Jobs that share a machine should not meet on one port. Below the ports that systems hand out by themselves.
int64_t port_of_job(int64_t job) { return 15000 + job % 15000; }

void read_address(const Variables& variables, RankInfo& info) {
  if (const auto address = variables.text("MASTER_ADDR")) info.master_addr = *address;
  if (const auto port = variables.number("MASTER_PORT")) {
    TORCH_CHECK_VALUE(*port >= 1 && *port <= 65535, "MASTER_PORT (environment): expected a port from 1 to 65535, got ",
                      *port);
    info.master_port = *port;
  }
}

RankInfo from_torchrun(const Variables& variables) {
  RankInfo info;
  info.rank = *variables.number("RANK");
  info.world_size = variables.required("WORLD_SIZE", "RANK");
  if (info.world_size > 1) {
    TORCH_CHECK_VALUE(variables.text("MASTER_ADDR"),
                      "MASTER_ADDR (environment): expected the host of rank 0, since WORLD_SIZE is ", info.world_size,
                      ", got nothing");
    variables.required("MASTER_PORT", "WORLD_SIZE");
  }
  read_address(variables, info);
  // Without the local variables: all on this machine if rank 0 is met on it, otherwise one rank per machine.
  const bool one_machine = is_loopback(info.master_addr);
  info.local_rank = variables.number("LOCAL_RANK").value_or(one_machine ? info.rank : 0);
  info.local_world_size =
      variables.number("LOCAL_WORLD_SIZE").value_or(one_machine ? info.world_size : info.local_rank + 1);
  info.agent_hosts_store = variables.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  info.restart_count = variables.number("TORCHELASTIC_RESTART_COUNT").value_or(0);
  return info;
}

RankInfo from_open_mpi(const Variables& variables) {
  RankInfo info;
  const char* const because = "OMPI_COMM_WORLD_RANK";
  info.rank = *variables.number(because);
  info.world_size = variables.required("OMPI_COMM_WORLD_SIZE", because);
  info.local_rank = variables.required("OMPI_COMM_WORLD_LOCAL_RANK", because);
  info.local_world_size = variables.number("OMPI_COMM_WORLD_LOCAL_SIZE").value_or(info.local_rank + 1);
  info.master_port = kDefaultPort;
  if (const auto job = variables.number("OMPI_MCA_ess_base_jobid")) info.master_port = port_of_job(*job);
  return info;
}

// MPICH, Intel MPI and others of the Hydra family.
RankInfo from_pmi(const Variables& variables) {
  RankInfo info;
  info.rank = *variables.number("PMI_RANK");
  info.world_size = variables.required("PMI_SIZE", "PMI_RANK");
  const auto local_rank = variables.number("MPI_LOCALRANKID");
  info.local_rank = local_rank.value_or(info.rank);
  info.local_world_size = variables.number("MPI_LOCALNRANKS").value_or(local_rank ? *local_rank + 1 : info.world_size);
  info.master_port = kDefaultPort;
  return info;
}

RankInfo from_slurm(const Variables& variables) {
  RankInfo info;
  info.rank = *variables.number("SLURM_PROCID");
  const auto tasks_of_step = variables.number("SLURM_STEP_NUM_TASKS");
  info.world_size = tasks_of_step ? *tasks_of_step : variables.required("SLURM_NTASKS", "SLURM_PROCID");
  info.local_rank = variables.number("SLURM_LOCALID").value_or(info.world_size == 1 ? 0 : info.rank);

  const int64_t node = variables.number("SLURM_NODEID").value_or(0);
  std::optional<int64_t> local;
  for (const char* const name : {"SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE", "SLURM_TASKS_PER_NODE"}) {
    if (const auto list = variables.text(name); list && !local) local = tasks_on_node(*list, node);
  }
  info.local_world_size = std::min(local.value_or(info.world_size), info.world_size);

  // Rank 0 runs on the first node; the launch node is where srun was called, which may be a login node.
  if (const auto nodes = variables.text("SLURM_STEP_NODELIST")) {
    info.master_addr = first_host(*nodes);
  } else if (const auto nodes = variables.text("SLURM_JOB_NODELIST")) {
    info.master_addr = first_host(*nodes);
  } else if (const auto address = variables.text("SLURM_LAUNCH_NODE_IPADDR")) {
    info.master_addr = *address;
  }
  info.master_port =
      port_of_job(variables.number("SLURM_JOB_ID").value_or(0) * 16 + variables.number("SLURM_STEP_ID").value_or(0));
  return info;
}

// A batch script's own environment says task 0 of as many as the job will have, though no srun started it.
bool started_by_srun(const Variables& variables) {
  if (!variables.text("SLURM_PROCID")) return false;
  if (variables.text("SLURM_STEP_ID")) return true;
  return variables.text("ENVIRONMENT") != "BATCH" && variables.text("SLURM_NTASKS").has_value();
}

RankInfo read(const Variables& variables) {
  if (variables.text("RANK")) return from_torchrun(variables);

  RankInfo info;
  if (variables.text("OMPI_COMM_WORLD_RANK")) {
    info = from_open_mpi(variables);
  } else if (started_by_srun(variables)) {
    info = from_slurm(variables);
  } else if (variables.text("PMI_RANK")) {
    info = from_pmi(variables);
  } else {
    const int64_t world_size = variables.number("WORLD_SIZE").value_or(1);
    TORCH_CHECK_VALUE(world_size <= 1, "RANK (environment): expected this process's number, since WORLD_SIZE is ",
                      world_size, ", got nothing; start the ranks with `titan launch`");
    return info;
  }
  const bool address_given = variables.text("MASTER_ADDR").has_value();
  TORCH_CHECK_VALUE(address_given || !is_loopback(info.master_addr) || info.local_world_size == info.world_size,
                    "MASTER_ADDR (environment): expected the host of rank 0, since the ranks (", info.world_size,
                    ") are on several machines (", info.local_world_size,
                    " on this one), got nothing; with mpirun: -x MASTER_ADDR=HOST");
  read_address(variables, info);
  return info;
}

}  // namespace

RankInfo rank_info_from(const std::function<const char*(const char*)>& variable) {
  RankInfo info = read(Variables(variable));
  TORCH_CHECK_VALUE(info.world_size >= 1, "WORLD_SIZE (environment): expected at least 1, got ", info.world_size);
  TORCH_CHECK_VALUE(info.rank < info.world_size, "RANK (environment): expected less than the world size (",
                    info.world_size, "), got ", info.rank);
  TORCH_CHECK_VALUE(info.local_world_size >= 1 && info.local_world_size <= info.world_size,
                    "LOCAL_WORLD_SIZE (environment): expected 1 to the world size (", info.world_size, "), got ",
                    info.local_world_size);
  TORCH_CHECK_VALUE(info.local_rank < info.local_world_size,
                    "LOCAL_RANK (environment): expected less than the number of ranks on this machine (",
                    info.local_world_size, "), got ", info.local_rank);
  return info;
}

RankInfo rank_info_from_environment() {
  return rank_info_from([](const char* name) { return std::getenv(name); });
}

}  // namespace titan::distributed
