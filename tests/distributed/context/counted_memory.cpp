#include "tests/distributed/context/counted_memory.h"

#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <mutex>

namespace titan::test {

struct CountedMemory::Counter {
  std::mutex mutex;
  int64_t now = 0, peak = 0;

  void add(int64_t bytes) {
    const std::scoped_lock lock(mutex);
    now += bytes;
    peak = std::max(peak, now);
  }
};

namespace {

thread_local std::shared_ptr<CountedMemory::Counter> counter_of_thread;

struct Block {
  c10::DataPtr data;
  std::shared_ptr<CountedMemory::Counter> counter;
  int64_t bytes;
};

class CountingAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    c10::DataPtr data = c10::GetDefaultCPUAllocator()->allocate(size);
    if (counter_of_thread == nullptr) return data;
    const auto bytes = static_cast<int64_t>(size);
    counter_of_thread->add(bytes);
    void* const address = data.get();
    auto* const block = new Block{std::move(data), counter_of_thread, bytes};
    return {address, block, free_block, c10::kCPU};
  }
  void copy_data(void* to, const void* from, std::size_t size) const override { default_copy_data(to, from, size); }

 private:
  static void free_block(void* pointer) {
    const std::unique_ptr<Block> block(static_cast<Block*>(pointer));
    block->counter->add(-block->bytes);
  }
};

}  // namespace

CountedMemory::CountedMemory() : counter_(std::make_shared<Counter>()) {
  static std::once_flag installed;
  std::call_once(installed, [] {
    static CountingAllocator allocator;
    c10::SetCPUAllocator(&allocator, /*priority=*/1);
  });
  counter_of_thread = counter_;
}

CountedMemory::~CountedMemory() { counter_of_thread.reset(); }

int64_t CountedMemory::peak() const {
  const std::scoped_lock lock(counter_->mutex);
  return counter_->peak;
}

}  // namespace titan::test
