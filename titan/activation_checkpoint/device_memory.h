// What is left of a device's memory: for the choice of what activation checkpointing may keep.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace titan::activation_checkpoint {

// Bytes that this process could take beyond the most it has had so far. On a GPU: its memory without what other
// processes hold and without the peak of the allocator's reservation. On a CPU: an equal part, among `ranks_on_host`
// processes, of what the host has available, beyond the peak of this process's resident set.
int64_t bytes_beyond_peak(c10::Device device, int64_t ranks_on_host);

}  // namespace titan::activation_checkpoint
