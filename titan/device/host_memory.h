// The memory of a CPU's tensors, between one step and the next.
#pragma once

namespace titan::device {

// Makes this process keep the memory that tensors free, instead of handing it back to the system: a step asks for the
// same tensors as the one before, and fresh pages cost a fault and a zeroing each. Large tensors get a heap of their
// own (host_arena.h), the C library keeps the rest. Tensors that exist already are not touched; a second call does
// nothing. Under address sanitizer the C library serves everything, so that it is watched.
void keep_freed_memory();

}  // namespace titan::device
