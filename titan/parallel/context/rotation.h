// Two ways in which the keys and values of all ranks of a group come to each of them, and the way in which gradients go
// home. Blocks come in the order of ranks, this rank's own first: r, r + 1, r + 2, ... round the group. While the
// caller computes with one block the next is under way. It knows no attention. Nothing here is differentiated.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "titan/distributed/collectives.h"
#include "titan/distributed/process_group.h"
#include "titan/parallel/context/sequence_layout.h"

namespace titan::parallel {

enum class KvRotation {
  kAllGather,  // all blocks are sent for at once and kept: little waiting, memory for all of them
  kRing,  // each rank passes on what it got: memory for two blocks beside its own (Liu et al. 2023, arXiv 2310.01889)
};

// The keys and values of one rank.
struct KvBlock {
  int64_t rank = 0;
  at::Tensor key, value;
};

class KvBlocks {
 public:
  virtual ~KvBlocks() = default;
  // The next rank's; nothing after the last. Its tensors are good until the next call.
  virtual std::optional<KvBlock> next() = 0;
};

// key, value: this rank's; those of the others have the same shapes. Every rank of the group calls it, and takes all.
std::unique_ptr<KvBlocks> rotate(KvRotation rotation, const at::Tensor& key, const at::Tensor& value,
                                 distributed::ProcessGroup& group);

// Sums up what all ranks add to the gradients of each block, in fp32: sums travel against the order in which blocks
// come, so that each meets every rank when that rank has the block.
class TravellingGradients {
 public:
  TravellingGradients(const at::Tensor& key, const at::Tensor& value, distributed::ProcessGroup& group);

  // What this rank adds to rows of the block whose turn it is: once for each block, in their order. Empty rows:
  // nothing.
  void add(Rows rows, const at::Tensor& grad_key, const at::Tensor& grad_value);

  // The gradients of this rank's own block, once all have been added to: {of the keys, of the values}, in fp32.
  std::pair<at::Tensor, at::Tensor> wait();

 private:
  struct Sums {
    at::Tensor key, value;
    void add(Rows rows, const at::Tensor& grad_key, const at::Tensor& grad_value) const;
  };
  Sums zeros() const;
  void pass_on();

  std::vector<int64_t> key_sizes_, value_sizes_;
  at::TensorOptions options_;
  std::shared_ptr<distributed::ProcessGroup> group_;
  int64_t num_added_ = 0;
  Sums own_, here_, coming_;  // of this rank's block; of the one whose turn it is; on the way
  std::optional<distributed::PendingTensors> exchange_;
};

}  // namespace titan::parallel
