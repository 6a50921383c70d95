// The most a device could do, which MFU is a share of. A table of data sheets, not a measurement.
#pragma once

#include <optional>
#include <string_view>

namespace titan::metrics {

// What a device that is not in the table counts as: an A100.
inline constexpr double kFallbackPeakFlops = 312e12;

// Dense bf16 FLOPS per second of the device called `device_name` ("NVIDIA H100 80GB HBM3"), by TorchTitan's table;
// nothing for one that is not in it.
std::optional<double> known_peak_flops(std::string_view device_name);

// The same, where an unknown device, a CPU too, counts as kFallbackPeakFlops, with one warning, so that its MFU
// compares with TorchTitan's.
double peak_flops(std::string_view device_name);

}  // namespace titan::metrics
