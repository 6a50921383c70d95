// How much memory this process has used at most, and out of how much: the figures of the step line on a CPU. A GPU's
// come from its allocator instead and reach MetricsLogger in the same struct.
#pragma once

#include <cstdint>

namespace titan::metrics {

struct MemoryStats {
  int64_t peak_reserved_bytes = 0;  // held from the system
  int64_t peak_active_bytes = 0;    // of these in use by tensors; on a CPU the same
  int64_t capacity_bytes = 0;
  int64_t num_alloc_retries = 0;
  int64_t num_ooms = 0;
};

// Peak resident set of this process since it was exec'ed, and memory_capacity_bytes(). Reads /proc; 20 us.
MemoryStats process_memory();

// Memory of the machine, or less where a control group (a container, a batch job) limits this process.
int64_t memory_capacity_bytes();

double to_gib(int64_t bytes);

}  // namespace titan::metrics
