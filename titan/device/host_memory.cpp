#include "titan/device/host_memory.h"

#include <malloc.h>

namespace titan::device {

void keep_freed_memory() {
  // Set by hand, neither moves with what the process frees. The threshold is the largest there is.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, -1);
}

}  // namespace titan::device
