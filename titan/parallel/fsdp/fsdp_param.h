// One parameter under FSDP: its shard, a DTensor that optimizer, checkpoint and everyone else sees, and the whole
// tensor that modules compute with while the parameter's group is unsharded.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "titan/dtensor/dtensor.h"
#include "titan/nn/module.h"

namespace titan::parallel {

class FsdpParam {
 public:
  // slots: every place that holds the parameter; several if it is tied. The tensor in them, plain, on the meta device
  // or the same on all ranks, is replaced by a DTensor placed by `placements`.
  FsdpParam(std::vector<nn::Parameter*> slots, const dtensor::Mesh& mesh, const dtensor::Placements& placements);

  const std::vector<int64_t>& sizes() const { return sizes_; }  // of the whole
  std::string fqn() const { return slots_.front()->fqn(); }

  // The DTensor; Module::to_empty may have replaced it since the last call.
  const at::Tensor& sharded() const { return is_unsharded_ ? sharded_ : slots_.front()->get(); }
  // This rank's rows of it.
  const at::Tensor& shard() const { return dtensor::local_of(sharded()); }

  // Puts `whole` into the slots: a leaf whose gradient is this rank's of the whole parameter.
  void show_whole(const at::Tensor& whole);
  // Puts the DTensor back.
  void show_shard();

  // Takes the gradient off the whole tensor; undefined if there is none.
  at::Tensor take_whole_gradient();
  // Adds `gradient`, of shard()'s shape, in any dtype and on any device, to the DTensor's gradient.
  void add_shard_gradient(const at::Tensor& gradient);

 private:
  std::vector<nn::Parameter*> slots_;
  std::vector<int64_t> sizes_;
  at::Tensor sharded_;  // while the slots hold the whole
  at::Tensor whole_;
  bool is_unsharded_ = false;
};

}  // namespace titan::parallel
