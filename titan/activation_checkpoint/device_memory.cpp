#include "titan/activation_checkpoint/device_memory.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace titan::activation_checkpoint {
namespace {

// "MemAvailable:   123 kB" in a file of such lines.
int64_t bytes_in(const char* file, const std::string& key) {
  std::ifstream lines(file);
  for (std::string name, unit; lines >> name;) {
    int64_t kibibytes = 0;
    if (name == key && lines >> kibibytes) return kibibytes * 1024;
    std::getline(lines, unit);
  }
  TORCH_CHECK(false, "expected ", key, " in ", file, ", found none");
}

}  // namespace

int64_t bytes_beyond_peak(c10::Device device, int64_t ranks_on_host) {
  if (device.is_cpu()) {
    const int64_t now = bytes_in("/proc/self/status", "VmRSS:"), peak = bytes_in("/proc/self/status", "VmHWM:");
    return bytes_in("/proc/meminfo", "MemAvailable:") / std::max<int64_t>(1, ranks_on_host) - (peak - now);
  }
  c10::DeviceAllocator* const allocator = at::getDeviceAllocator(device.type());
  const auto [free, total] = allocator->getMemoryInfo(device.index());
  const auto stats = allocator->getDeviceStats(device.index());
  const auto& reserved = stats.reserved_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
  return static_cast<int64_t>(free) - (reserved.peak - reserved.current);
}

}  // namespace titan::activation_checkpoint
