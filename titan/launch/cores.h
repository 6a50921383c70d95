// How many cores this process may use, and each rank's share of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace titan::launch {

// The cores of this process's affinity mask, or fewer if its control group (a container's limit) grants it less time.
int64_t num_usable_cores();

// How many cores' time a cgroup v2 file cpu.max grants ("150000 100000" -> 2, rounded up; "max 100000" -> nullopt).
std::optional<int64_t> cores_of_cpu_max(std::string_view text);

}  // namespace titan::launch
