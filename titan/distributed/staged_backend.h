// A backend for tensors on a GPU out of one for tensors in host memory: what a rank gives is copied to pinned memory,
// talked about there, and what it gets is copied back. It is for ranks that share a GPU, which NCCL refuses to serve;
// where each rank has a GPU of its own, NCCL is faster by far.
//
// [Note: staging runs beside computing]
// An operation returns at once. Streams of the backend's own copy down and up; one thread waits until a copy down has
// arrived and starts the host's operation, another waits for that and starts the copy up, both in the order of the
// calls, which is the same on all ranks. Waiting for the operation makes the host wait until the copy up is on its
// stream, and the current stream until it is over.
#pragma once

#include <c10/core/Device.h>

#include "titan/distributed/backend.h"

namespace titan::distributed {

// Of what a c10d backend may offer, it has what collectives.h and p2p.h use. The factory makes `make_host`'s backend
// for the group and puts itself over it. With a CPU as `device` it copies within the host, as tests do.
BackendFactory staged_over(BackendFactory make_host, at::Device device);

}  // namespace titan::distributed
