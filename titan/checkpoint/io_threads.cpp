#include "titan/checkpoint/io_threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace titan::checkpoint {

void for_each_of(int64_t num_items, int64_t num_threads, const std::function<void(int64_t)>& work) {
  std::atomic<int64_t> next = 0;
  std::mutex mutex;
  std::exception_ptr first_error;
  const auto take_items = [&] {
    try {
      for (int64_t item = next++; item < num_items; item = next++) work(item);
    } catch (...) {  // thrown below, on the caller's thread
      next = num_items;
      const std::scoped_lock lock(mutex);
      if (!first_error) first_error = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < std::min(num_threads, num_items); ++i) others.emplace_back(take_items);
  take_items();
  for (std::thread& thread : others) thread.join();
  if (first_error) std::rethrow_exception(first_error);
}

int64_t io_threads(int64_t ranks_on_host) {
  constexpr int64_t kMost = 8;  // more do not make a file system faster
  const auto processors = static_cast<int64_t>(std::thread::hardware_concurrency());
  return std::clamp<int64_t>(processors / std::max<int64_t>(ranks_on_host, 1), 1, kMost);
}

}  // namespace titan::checkpoint
