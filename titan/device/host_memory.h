// The memory of a CPU's tensors, between one step and the next.
#pragma once

namespace titan::device {

// Makes the C library keep what is freed, up to blocks of 32 MiB, instead of handing it back to the system: a step asks
// for the same tensors as the one before, and fresh pages cost a fault and a zeroing each. Larger blocks go back as
// before: kept, they would leave gaps that no other block fills (a quarter more memory where it was tried). For the
// whole process; does not change how much is held at most.
void keep_freed_memory();

}  // namespace titan::device
