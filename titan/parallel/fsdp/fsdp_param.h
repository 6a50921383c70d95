// One parameter under FSDP: its shard, a DTensor that optimizer, checkpoint and everyone else sees, and the whole
// tensor that modules compute with while the parameter's group is unsharded.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "titan/dtensor/dtensor.h"
#include "titan/nn/module.h"

namespace titan::parallel {

class FsdpParam {
 public:
  // slots: every place that holds the parameter; several if it is tied. The tensor in them, on the meta device or the
  // same on all ranks, is replaced by a DTensor on `mesh`: sharded on dimension 0 over `shard_axis`, replicated over
  // the axes before it. On the axes after it (tensor parallelism) the parameter may be a DTensor already, and stays
  // placed as it is: what is whole then is a rank's part there, and dimension 0 is sharded within it (StridedShard).
  FsdpParam(std::vector<nn::Parameter*> slots, const dtensor::Mesh& mesh, int64_t shard_axis);

  const std::vector<int64_t>& sizes() const { return sizes_; }  // of the whole, as far as this axis is concerned
  std::string fqn() const { return slots_.front()->fqn(); }

  // The DTensor; Module::to_empty may have replaced it since the last call.
  const at::Tensor& sharded() const { return is_unsharded_ ? sharded_ : slots_.front()->get(); }
  // This rank's rows of it.
  const at::Tensor& shard() const { return dtensor::local_of(sharded()); }

  // A leaf to compute with, of a plain tensor of sizes(), whose memory it uses.
  at::Tensor make_leaf(const at::Tensor& whole) const;
  // Puts such a leaf into the slots: its gradient is this rank's of the whole parameter.
  void show_whole(const at::Tensor& leaf);
  // Puts the DTensor back.
  void show_shard();

  // Takes the gradient off the leaf, of sizes(); undefined if there is none. Collective over the inner axes if it has
  // to be brought into place there (terms of norm weights).
  at::Tensor take_whole_gradient();
  // Adds `gradient`, of shard()'s shape, in any dtype and on any device, to the DTensor's gradient.
  void add_shard_gradient(const at::Tensor& gradient);

 private:
  std::vector<nn::Parameter*> slots_;
  std::vector<int64_t> sizes_, global_sizes_;
  std::optional<dtensor::Mesh> inner_mesh_;  // where the parameter is a DTensor already
  dtensor::Placements inner_placements_;
  at::Tensor sharded_;  // while the slots hold the whole
  at::Tensor whole_;
  bool is_unsharded_ = false;
};

}  // namespace titan::parallel
