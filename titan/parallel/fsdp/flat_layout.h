// Where the parameters of a group lie in the flat buffers that travel: pure arithmetic and copies, no communication.
//
// Parameters are sharded on dimension 0: each is cut into `num_shards` chunks of ceil(rows / num_shards) rows, the last
// ones shorter or empty (torch.chunk), and padded to equal size where they travel. Three buffers, of one dtype each:
//   shard     [shard_numel]              what a rank has: its chunk of every parameter, one after another
//   gathered  [num_shards, shard_numel]  the shards of all ranks: what an all-gather gives and a reduce-scatter takes
//   whole     [whole_numel]              the parameters one after another, each contiguous, followed by its padding
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace titan::parallel {

class FlatLayout {
 public:
  // sizes: of each parameter, of at least one dimension.
  FlatLayout(const std::vector<std::vector<int64_t>>& sizes, int64_t num_shards);

  int64_t num_shards() const { return num_shards_; }
  int64_t shard_numel() const { return shard_numel_; }
  int64_t whole_numel() const { return whole_numel_; }

  // The i-th parameter in `whole`, as a view of its shape.
  at::Tensor in_whole(const at::Tensor& whole, size_t i) const;
  // A rank's chunk of the i-th parameter in its `shard`, without padding, as a view. `rows`: how many it has.
  at::Tensor in_shard(const at::Tensor& shard, size_t i, int64_t rows) const;

  // shard <- each parameter's chunk, of the rank's rows, in any dtype. Padding is left as it is.
  void copy_shards_in(const at::Tensor& shard, const std::vector<at::Tensor>& chunks) const;
  // whole <- gathered.
  void copy_out(const at::Tensor& whole, const at::Tensor& gathered) const;
  // gathered <- each parameter's gradient of the parameter's shape, in any dtype (undefined: zeros). Padding is zero.
  void copy_gradients_in(const at::Tensor& gathered, const std::vector<at::Tensor>& gradients) const;

 private:
  struct Entry {
    std::vector<int64_t> sizes;
    int64_t row_numel, rows_per_shard;
    int64_t chunk_numel;   // padded
    int64_t shard_offset;  // in `shard`
    int64_t whole_offset;  // in `whole`
  };
  at::Tensor chunks_of(const at::Tensor& gathered, const Entry& entry) const;  // [num_shards, chunk_numel]

  int64_t num_shards_;
  std::vector<Entry> entries_;
  int64_t shard_numel_ = 0, whole_numel_ = 0;
};

}  // namespace titan::parallel
