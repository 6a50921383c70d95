// The most a device could do, which MFU is a share of. A table of data sheets, not a measurement.
#pragma once

#include <string_view>

namespace titan::metrics {

// Dense bf16 FLOPS per second of the device called `device_name` ("NVIDIA H100 80GB HBM3"), by TorchTitan's table. An
// unknown device, a CPU too, counts as an A100 (312e12), with one warning, so that its MFU compares with TorchTitan's.
double peak_flops(std::string_view device_name);

}  // namespace titan::metrics
