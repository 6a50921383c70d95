#include "titan/metrics/memory.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace titan::metrics {
namespace {

// Not getrusage first: its peak is inherited over exec, so a rank would start with the launcher's.
int64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

// The number in a control file; nothing for "max", and where there is no such file.
std::optional<int64_t> read_limit(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::string text;
  if (!std::getline(stream, text)) return std::nullopt;
  int64_t limit = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return limit;
}

// The tightest limit of this process's control group and the groups it lies in. Version 2 has one tree; version 1 one
// for memory. In a container the group may not be visible under its own name: then the tree's root is.
std::optional<int64_t> control_group_limit() {
  std::optional<int64_t> tightest;
  const auto walk = [&](const std::filesystem::path& root, const std::string& group, const char* file) {
    for (std::filesystem::path path = group;; path = path.parent_path()) {
      const auto limit = read_limit(root / path.relative_path() / file);
      if (limit) tightest = std::min(*limit, tightest.value_or(*limit));
      if (!path.has_relative_path()) return;
    }
  };
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (controllers.empty()) walk("/sys/fs/cgroup", group, "memory.max");
    if (controllers == "memory") walk("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
  }
  return tightest;
}

}  // namespace

int64_t memory_capacity_bytes() {
  const int64_t machine = int64_t{sysconf(_SC_PAGE_SIZE)} * sysconf(_SC_PHYS_PAGES);
  return std::min(machine, control_group_limit().value_or(machine));
}

MemoryStats process_memory() {
  static const int64_t capacity = memory_capacity_bytes();
  const int64_t peak = peak_resident_bytes();
  return {.peak_reserved_bytes = peak, .peak_active_bytes = peak, .active_bytes = peak, .capacity_bytes = capacity};
}

MemoryStats memory_of(at::Device device) {
  if (device.is_cpu()) return process_memory();
  c10::DeviceAllocator& allocator = *c10::getDeviceAllocator(device.type());
  const auto stats = allocator.getDeviceStats(device.index());
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return {.peak_reserved_bytes = stats.reserved_bytes[kAll].peak,
          .peak_active_bytes = stats.active_bytes[kAll].peak,
          .active_bytes = stats.active_bytes[kAll].current,
          .capacity_bytes = static_cast<int64_t>(allocator.getMemoryInfo(device.index()).second),
          .num_alloc_retries = stats.num_alloc_retries,
          .num_ooms = stats.num_ooms};
}

void reset_peak_memory(at::Device device) {
  if (!device.is_cpu()) c10::getDeviceAllocator(device.type())->resetPeakStats(device.index());
}

double to_gib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

}  // namespace titan::metrics
