// A copy of what is to be saved, so that training can go on while it is written: one buffer, made at the first save and
// used again by the later ones.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "titan/checkpoint/shard_writer.h"

namespace titan::checkpoint {

class Staging {
 public:
  // `pinned`: in page-locked memory, from which a GPU's copies are fast; only if an item is on a GPU.
  explicit Staging(bool pinned) : pinned_(pinned) {}

  // The same items with their data in the buffer, converted to their dtypes. Blocks until it is there. What an earlier
  // call returned is overwritten.
  std::vector<ShardItem> copy(const std::vector<ShardItem>& items, int64_t num_threads);

 private:
  bool pinned_;
  at::Tensor buffer_;
};

}  // namespace titan::checkpoint
