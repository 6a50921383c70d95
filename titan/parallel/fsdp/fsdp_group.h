// Parameters that travel together: one all-gather makes them whole, one reduce-scatter brings their gradients home.
// States and verbs are those of PyTorch's FSDPParamGroup; when which verb is due, fully_shard knows.
//
//              unshard()            wait_for_unshard()
//   kSharded ------------> kUnsharding ------------> kUnsharded
//       ^                                                 |
//       +-------------------- reshard() ------------------+
//
// A verb in a wrong state is our own mistake and says so.
//
// [Note: whole parameters come and go]
// The tensors that autograd saves in the forward are the whole parameters themselves. They stay the same objects, views
// of one storage, for the whole run: resharding takes the memory away from under them, unsharding puts memory with the
// same numbers back. It is written through another tensor, so their version stays and the backward accepts them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "titan/distributed/collectives.h"
#include "titan/distributed/recorder/served_module.h"
#include "titan/parallel/fsdp/flat_layout.h"
#include "titan/parallel/fsdp/fsdp_param.h"

namespace titan::parallel {

// Memory that is used again: what one group frees, the next one of the same size takes. On a GPU the allocator's cache
// does this already.
class BufferPool {
 public:
  at::Tensor take(int64_t numel, const at::TensorOptions& options);
  void give_back(at::Tensor buffer);

 private:
  std::vector<at::Tensor> free_;
};

struct FsdpOptions {
  std::optional<at::ScalarType> param_dtype;   // that the modules compute in; none: the parameters' own
  std::optional<at::ScalarType> reduce_dtype;  // that gradients are summed in; none: param_dtype
  // That computes and communicates, if it is not the one that shards are kept on (CPU offload).
  std::optional<at::Device> compute_device;
  std::string shard_axis = "dp_shard";  // of the mesh
};

class FsdpGroup {
 public:
  enum class State { kSharded, kUnsharding, kUnsharded };

  // mesh: `shard_axis` shards, the axes before it replicate; what comes after is the parameters' own matter. The
  // parameters are of one dtype (c10::ValueError). `name`: of the unit, in the flight recorder.
  FsdpGroup(std::vector<FsdpParam> params, const dtensor::Mesh& mesh, int64_t shard_axis, const FsdpOptions& options,
            std::shared_ptr<BufferPool> pool, const std::string& name = "");
  ~FsdpGroup();
  FsdpGroup(const FsdpGroup&) = delete;
  FsdpGroup& operator=(const FsdpGroup&) = delete;

  State state() const { return state_; }
  const std::vector<FsdpParam>& params() const { return params_; }

  // Starts the all-gather. Collective over the sharding axis, as what follows.
  void unshard();
  // Modules find whole parameters from here on.
  void wait_for_unshard();
  // Modules find DTensors again; the whole parameters' memory is freed, their gradients stay.
  void reshard();

  // Keeps the gradients of the whole parameters, in the dtype of the reduction, for a later micro-batch to add to.
  void accumulate_gradients();
  // Starts summing the gradients over ranks, with what was kept.
  void reduce_gradients();
  // The DTensors' gradients are there from here on. A reduction must be under way.
  void wait_for_gradients();
  bool is_reducing() const { return reduction_.has_value(); }

 private:
  at::TensorOptions buffer_options(at::ScalarType dtype) const;
  void make_whole_parameters();
  std::vector<at::Tensor> take_gradients();

  std::vector<FsdpParam> params_;
  dtensor::Mesh mesh_;
  int64_t shard_axis_;
  FlatLayout layout_;
  at::ScalarType param_dtype_, reduce_dtype_;
  std::optional<at::Device> compute_device_;
  std::shared_ptr<BufferPool> pool_;
  distributed::recorder::ModuleName name_;
  State state_ = State::kSharded;

  at::Tensor whole_;                      // the flat storage under whole_params_; without memory while sharded
  std::vector<at::Tensor> whole_params_;  // leaves
  at::Tensor memory_;                     // that whole_ lies in while unsharded

  at::Tensor shard_buffer_, gathered_;  // of an all-gather under way
  std::optional<distributed::Pending> gathering_;

  std::vector<at::Tensor> accumulated_;  // gradients kept, by parameter; undefined: none
  at::Tensor to_reduce_, reduced_;       // of a reduction under way
  std::optional<distributed::Pending> reduction_;
};

}  // namespace titan::parallel
