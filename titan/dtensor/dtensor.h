// DTensor: one logical tensor over a mesh of ranks. It is an at::Tensor with global sizes whose operators run on every
// rank's local part, after the communication that the operator needs. Functions here make DTensors, place them
// otherwise, and take them apart; every one of them can be differentiated. See docs/dtensor.md.
// All ranks of a mesh call these functions and all operators on its DTensors in the same order, as with collectives.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "titan/dtensor/mesh.h"
#include "titan/dtensor/placement.h"
#include "titan/dtensor/spec.h"

namespace titan::dtensor {

bool is_dtensor(const at::Tensor& tensor);

// Throw c10::ValueError for a tensor that is no DTensor.
const Spec& spec_of(const at::Tensor& dtensor);
const Placements& placements_of(const at::Tensor& dtensor);
Mesh mesh_of(const at::Tensor& dtensor);

// The local part itself, without gradients: what it is changed to, the DTensor is changed to.
const at::Tensor& local_of(const at::Tensor& dtensor);

// Wraps what each rank has; sends nothing, copies nothing. Without `global_sizes`, the shards of a dimension have the
// same size everywhere (c10::ValueError if this rank's part of such a tensor is not what it has). Partial: `local` is
// this rank's term. The gradient of `local` is the DTensor's, placed likewise; where that is Partial, replicated.
at::Tensor from_local(const at::Tensor& local, const Mesh& mesh, const Placements& placements,
                      at::OptionalIntArrayRef global_sizes = std::nullopt);

struct DistributeOptions {
  // Everyone gets what the mesh's first rank has, by one broadcast. Without, the ranks are known to hold the same.
  bool broadcast = true;
};

// Makes a DTensor of a whole tensor. A meta tensor gives a meta DTensor. The result owns its memory: a shard does not
// keep the whole alive. A leaf that requires gradients stays one leaf and the result is computed from it.
at::Tensor distribute_tensor(const at::Tensor& tensor, const Mesh& mesh, const Placements& placements,
                             const DistributeOptions& options = {});

// The same tensor placed otherwise, by the cheapest path of collectives. Already so placed: returned as it is; else
// the result shares no memory with it. The gradient goes back to the placements of `dtensor` (Partial: replicated).
at::Tensor redistribute(const at::Tensor& dtensor, const Placements& placements);

// A redistribution under way. Without gradients.
class [[nodiscard]] PendingRedistribution {
 public:
  // Blocks (on a CUDA device: the stream) until it is there.
  at::Tensor wait();
  ~PendingRedistribution();
  PendingRedistribution(PendingRedistribution&&) noexcept;
  PendingRedistribution& operator=(PendingRedistribution&&) noexcept;

 private:
  friend PendingRedistribution redistribute_async(const at::Tensor& dtensor, const Placements& placements);
  struct State;
  explicit PendingRedistribution(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};
// Starts the first collective of the path and returns; wait() does the rest.
PendingRedistribution redistribute_async(const at::Tensor& dtensor, const Placements& placements);

// The local part. Its gradient, taken together over the ranks, is a tensor placed by `grad_placements`; by default as
// `dtensor` is, replicated where that is Partial.
at::Tensor to_local(const at::Tensor& dtensor, const std::optional<Placements>& grad_placements = std::nullopt);

// The whole, on every rank: redistributed to replicate and taken apart.
at::Tensor full_tensor(const at::Tensor& dtensor, const std::optional<Placements>& grad_placements = std::nullopt);

}  // namespace titan::dtensor
