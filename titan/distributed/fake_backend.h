// A c10d backend that talks to nobody: one process plays one rank of a world of any size (dry runs). What comes from
// other ranks is this rank's own data, as if all ranks held the same: an all_gather repeats it, a reduction leaves it
// unreduced, a reduce_scatter takes this rank's part. Received messages are zeros.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <cstdint>

namespace c10d {
class Backend;
}

namespace titan::distributed {

c10::intrusive_ptr<c10d::Backend> make_fake_backend(int64_t rank, int64_t size);

}  // namespace titan::distributed
