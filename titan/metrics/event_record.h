// TensorBoard's Event messages as bytes (event.proto). Includes nothing of libtorch: see CMakeLists.txt.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace titan::metrics {

// The first record of a file. `wall_time`: seconds since 1970.
std::string version_event(double wall_time);

std::string scalar_event(double wall_time, int64_t step, std::string_view tag, float value);

}  // namespace titan::metrics
