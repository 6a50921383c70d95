#include "titan/device/host_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/alignment.h>
#include <c10/core/impl/alloc_cpu.h>
#include <malloc.h>
#include <unistd.h>

#include <cstring>

#include "titan/device/host_arena.h"

namespace titan::device {
namespace {

// Smaller tensors are many, come and go with everything else, and leave no gaps worth speaking of.
constexpr size_t kLargeBytes = 128 << 10;

HostArena& arena() {
  // Room for all of the machine's memory and its gaps. Never destroyed: tensors may outlive main().
  static auto* const instance =
      new HostArena(static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE)) * 2);
  return *instance;
}

void free_tensor(void* data) {
  if (data == nullptr) return;
  c10::profiledCPUMemoryReporter().Delete(data);
  if (arena().contains(data)) {
    arena().give_back(data);
  } else {
    c10::free_cpu(data);
  }
}

class TensorAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t num_bytes) override {
    void* data = num_bytes < kLargeBytes ? nullptr : arena().take(num_bytes);
    if (data == nullptr) data = c10::alloc_cpu(num_bytes);  // throws; null for no bytes
    c10::profiledCPUMemoryReporter().New(data, num_bytes);
    return {data, data, &free_tensor, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_tensor; }
  void copy_data(void* to, const void* from, size_t num_bytes) const override { std::memcpy(to, from, num_bytes); }
};

}  // namespace

void keep_freed_memory() {
  // Set by hand, neither moves with what the process frees. The threshold is the largest there is.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, -1);
#ifndef __SANITIZE_ADDRESS__
  static TensorAllocator allocator;
  c10::SetCPUAllocator(&allocator);
#endif
}

}  // namespace titan::device
