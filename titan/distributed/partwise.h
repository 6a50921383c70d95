// All-gather and reduce-scatter in parts, for those who compute with one part while the others are under way
// (asynchronous tensor parallelism). All ranks of a group make them in the same order, as with collectives, of parts of
// equal shape and dtype. Every rank goes round the group from a place of its own, so that no rank is everybody's next:
//   all-gather      rank r has its own part at once, then those of r + 1, r + 2, ... come
//   reduce-scatter  rank r makes the terms for r + 1, r + 2, ..., and its own at last
// Parts travel as messages (p2p.h), or, on GPUs of one host, through symmetric memory (symmetric_memory.h).
// No gradients. CPU: wait() and sum() block; CUDA: the current stream waits, not the host.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "titan/distributed/backend.h"

namespace titan::distributed {

class ProcessGroup;

class PartwiseAllGather {
 public:
  virtual ~PartwiseAllGather() = default;

  // Rank's part. This rank's own is there at once; the others' are to be waited for in the order r + 1, r + 2, ...
  virtual at::Tensor wait(int64_t rank) = 0;
  // All of them, [ranks, ...part], once each has been waited for.
  virtual const at::Tensor& parts() const = 0;
};

class PartwiseReduceScatter {
 public:
  virtual ~PartwiseReduceScatter() = default;

  // Memory for this rank's term of `rank`'s part, uninitialised: [...part].
  virtual at::Tensor term(int64_t rank) = 0;
  // The term is in its memory. Called once for each other rank, in the order r + 1, r + 2, ...; does not block.
  virtual void send(int64_t rank) = 0;
  // The sum of all ranks' terms of this rank's part, added in the order of ranks; its own term is in its memory.
  virtual at::Tensor sum() = 0;
};

// Sends `own`, which may have any strides, to all.
std::unique_ptr<PartwiseAllGather> partwise_all_gather(const at::Tensor& own, ProcessGroup& group);

// Of parts of `part_sizes`.
std::unique_ptr<PartwiseReduceScatter> partwise_reduce_scatter(at::IntArrayRef part_sizes,
                                                               const at::TensorOptions& options, ProcessGroup& group);

// Who makes the two for tensors of a GPU, where there is something better than messages. One per group.
class Partwise {
 public:
  virtual ~Partwise() = default;
  virtual std::unique_ptr<PartwiseAllGather> all_gather(const at::Tensor& own) = 0;
  virtual std::unique_ptr<PartwiseReduceScatter> reduce_scatter(at::IntArrayRef part_sizes,
                                                                const at::TensorOptions& options) = 0;
};

// Null, on all ranks, if there is nothing better for this group. Collective.
using PartwiseFactory = std::function<std::shared_ptr<Partwise>(const BackendRequest&)>;

}  // namespace titan::distributed
