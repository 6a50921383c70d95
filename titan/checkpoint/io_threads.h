// Work on files by several threads at once: independent items, handed out as threads become free.
#pragma once

#include <cstdint>
#include <functional>

namespace titan::checkpoint {

// Calls `work` for 0 to num_items - 1, on this thread and num_threads - 1 others. After an exception no further item is
// begun, and the first one is thrown once all have ended.
void for_each_of(int64_t num_items, int64_t num_threads, const std::function<void(int64_t item)>& work);

// How many threads one of `ranks_on_host` processes does well to use for files: its share of the processors, 1 to 8.
int64_t io_threads(int64_t ranks_on_host);

}  // namespace titan::checkpoint
