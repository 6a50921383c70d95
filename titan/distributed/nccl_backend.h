// NCCL as a backend of process groups; part of libtitan_cuda.so.
#pragma once

#include "titan/distributed/backend.h"

namespace titan::distributed {

// Tensors must lie on this process's current CUDA device. Operations run on a stream of NCCL's own; waiting for one
// makes the current stream wait. Its watchdog ends the process some time after an operation's timeout.
c10::intrusive_ptr<c10d::Backend> make_nccl(const BackendRequest& request);

}  // namespace titan::distributed
