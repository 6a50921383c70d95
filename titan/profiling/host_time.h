// Where the time of one thread goes, by operator: what a step costs on a CPU, where operators run on the thread that
// calls them (autograd's too). It says nothing of a GPU, which works while the host does something else: device_time.h.
#pragma once

#include <functional>

#include "titan/profiling/category.h"

namespace titan::profiling {

// Runs `work` on this thread and says where its wall time went. An operator counts for its own category, and what it
// calls counts with it; only communication counts for itself wherever it happens. Idle is what no operator or wait for
// other ranks covers: the host's own work. Each operator takes about a microsecond longer. Not to be nested.
TimeByCategory host_time_of(const std::function<void()>& work);

}  // namespace titan::profiling
