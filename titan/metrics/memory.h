// How much memory this process has used at most, and out of how much: the figures of the step line. On a CPU they are
// the process's, on a GPU its allocator's.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace titan::metrics {

struct MemoryStats {
  int64_t peak_reserved_bytes = 0;  // held from the system
  int64_t peak_active_bytes = 0;    // of these in use by tensors; on a CPU the same
  int64_t active_bytes = 0;         // now
  int64_t capacity_bytes = 0;
  int64_t num_alloc_retries = 0;
  int64_t num_ooms = 0;
};

// Peak resident set of this process since it was exec'ed, and memory_capacity_bytes(). Reads /proc; 20 us.
MemoryStats process_memory();

// Of the allocator of `device`, a GPU, since the last reset_peak_memory; on the CPU process_memory().
MemoryStats memory_of(at::Device device);

// Starts the peaks anew; on the CPU nothing, whose peak stands for the whole run.
void reset_peak_memory(at::Device device);

// Memory of the machine, or less where a control group (a container, a batch job) limits this process.
int64_t memory_capacity_bytes();

double to_gib(int64_t bytes);

}  // namespace titan::metrics
