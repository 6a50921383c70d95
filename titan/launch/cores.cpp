#include "titan/launch/cores.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>

namespace titan::launch {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The cgroup v2 folder of this process below /sys/fs/cgroup: the line "0::/path" of /proc/self/cgroup.
std::string own_cgroup() {
  std::istringstream lines(text_of("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::")) return line.substr(3);
  }
  return "/";
}

int64_t num_cores_of_affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // Fails on machines of more than 1024 cores.
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return std::max<int64_t>(1, std::thread::hardware_concurrency());
}

}  // namespace

std::optional<int64_t> cores_of_cpu_max(std::string_view text) {
  std::istringstream stream{std::string(text)};
  int64_t quota = 0, period = 0;  // microseconds
  if (!(stream >> quota >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return (quota + period - 1) / period;
}

int64_t num_usable_cores() {
  int64_t cores = num_cores_of_affinity();
  for (std::string folder = own_cgroup(); !folder.empty();) {
    // The limit of each folder on the way up holds.
    const auto limit = cores_of_cpu_max(text_of("/sys/fs/cgroup" + folder + "/cpu.max"));
    if (limit.has_value()) cores = std::min(cores, *limit);
    folder.resize(folder.find_last_of('/') == std::string::npos ? 0 : folder.find_last_of('/'));
  }
  return cores;
}

}  // namespace titan::launch
