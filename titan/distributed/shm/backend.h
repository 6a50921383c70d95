// A c10d backend for ranks of one host: collectives and messages through shared memory. CPU tensors, contiguous.
// Reductions add in the order of ranks, so results are the same bits on all ranks and in every run. Operations are
// asynchronous; collectives run one after another, beside messages. A rank that ends is noticed within a second.
// Of tensors on a GPU it knows nothing: a device backend (WorldOptions::make_device_backend) that stages them in pinned
// memory can hold one of these, made by meet() and make_backend() on a store of its own.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <memory>

#include "titan/distributed/backend.h"
#include "titan/distributed/shm/engine.h"

namespace titan::distributed::shm {

// A rank's end of the group whose memory `links` is.
c10::intrusive_ptr<c10d::Backend> make_backend(std::unique_ptr<Links> links, std::chrono::milliseconds timeout);

}  // namespace titan::distributed::shm
