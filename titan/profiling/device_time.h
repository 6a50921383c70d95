// Where the time of a GPU goes, by kernel, as Kineto records it. It says nothing of the host: host_time.h.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "titan/profiling/category.h"

namespace titan::profiling {

// A kernel, copy or fill on a GPU. Those of different streams may overlap.
struct KernelInterval {
  std::string name;
  int64_t start_ns = 0;
  int64_t end_ns = 0;
};

// Runs `work`, which must wait for the device at its end, and returns what ran on the process's GPU meanwhile; on a
// machine without one, nothing. Kineto's, so nothing else may profile at the same time.
std::vector<KernelInterval> record_kernels(const std::function<void()>& work);

// The time from the first start to the last end. Where kernels overlap, the instant goes to the first of matmul,
// attention, other, optimizer, communication: so communication is what was not hidden behind computation. Idle is what
// no kernel covers.
TimeByCategory time_by_category(std::span<const KernelInterval> kernels);

}  // namespace titan::profiling
