#include "titan/metrics/peak_flops.h"

#include <string>

#include "titan/logging/logger.h"

namespace titan::metrics {
namespace {

struct Peak {
  std::string_view name;     // stands in the device's name
  std::string_view variant;  // stands there as well; empty: any
  double flops;
};

// Data sheets' dense bf16 figures (half of those with sparsity). The first row that fits counts: H200 before H20.
constexpr Peak kPeaks[] = {
    {"A100", "", 312e12},    {"H100", "NVL", 835e12}, {"H100", "PCIe", 756e12}, {"H100", "", 989e12},
    {"H200", "", 989e12},    {"H20", "", 148e12},     {"B200", "", 2.25e15},    {"MI355X", "", 2500e12},
    {"MI300X", "", 1300e12}, {"MI325X", "", 1300e12}, {"MI250X", "", 191.5e12}, {"L40S", "", 362e12},
};

}  // namespace

std::optional<double> known_peak_flops(std::string_view device_name) {
  const auto holds = [&](std::string_view part) { return device_name.find(part) != std::string_view::npos; };
  for (const Peak& peak : kPeaks) {
    if (holds(peak.name) && holds(peak.variant)) return peak.flops;
  }
  return std::nullopt;
}

double peak_flops(std::string_view device_name) {
  if (const auto known = known_peak_flops(device_name)) return *known;
  logging::warning("Peak flops undefined for: {}, fallback to A100", device_name);
  return kFallbackPeakFlops;
}

}  // namespace titan::metrics
