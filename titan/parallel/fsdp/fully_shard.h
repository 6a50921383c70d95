// Fully sharded data parallel (Zhao et al. 2023, arXiv 2304.11277; per parameter, as PyTorch's FSDP2): every rank keeps
// a shard of each parameter, gradient and optimizer state, and holds whole only the parameters of the unit that
// computes and of the one that comes next. With a mesh of two axes it is hybrid (HSDP): sharded on the inner axis,
// replicated on the outer. It knows no model: it is told which modules make up a unit. docs/fsdp.md tells the whole
// story.
//
// What happens around a unit, with `next` the one whose turn comes after it:
//   forward    before: unshard, if nobody did; wait; start unsharding next    after: reshard
//   backward   before: unshard, if nobody did; wait; start unsharding next    after: reshard; start reducing gradients
// So communication runs while the neighbour computes, and two units at most are whole.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "titan/distributed/device_mesh.h"
#include "titan/nn/module.h"
#include "titan/parallel/fsdp/fsdp_group.h"

namespace titan::parallel {

// Modules whose parameters travel together, in the order of their calls.
struct FsdpUnit {
  std::vector<nn::Module*> modules;
  // Free the whole parameters between forward and backward. The last unit is needed again at once, so it need not.
  bool reshard_after_forward = true;
};

class FullyShard {
 public:
  // units: in the order of the forward; a parameter that is in several slots must have them all in one unit
  // (c10::ValueError). mesh: its axis `options.shard_axis` shards, those before it replicate, and on those after it
  // parameters may be DTensors already (tensor parallelism). Parameters are replaced by DTensors on `mesh`; they need
  // not be materialised yet. Collective over the mesh, as all that follows.
  FullyShard(const std::vector<FsdpUnit>& units, const distributed::DeviceMesh& mesh, const FsdpOptions& options = {});
  ~FullyShard();
  FullyShard(const FullyShard&) = delete;
  FullyShard& operator=(const FullyShard&) = delete;

  // Before each micro-batch's forward. Only the last one's backward sums gradients over ranks; before that, each rank
  // adds up its own, whole.
  void before_microbatch(bool last);

  // After the last micro-batch's backward: every DTensor's gradient is the sum over all ranks of the mesh. What got
  // none counts as zero.
  void finish();

  // --- for a caller that knows better when (a pipeline, where forwards and backwards of micro-batches alternate) ---

  // From here on nothing is reduced, nor freed but by reshard_after_forward, unless the caller says so below. Instead
  // of before_microbatch.
  void leave_to_caller() { left_to_caller_ = true; }
  // Starts making all units whole. They are waited for when they compute.
  void unshard();
  void reshard();
  // Keeps the gradients that a backward has left, for others to be added, in the dtype of the reduction.
  void accumulate_gradients();
  // Starts summing what was kept over ranks; finish() waits for it.
  void reduce_gradients();

  // The largest number of units that were whole at once, so far.
  int64_t max_units_unsharded() const { return max_units_unsharded_; }

 private:
  struct Unit {
    std::unique_ptr<FsdpGroup> group;
    nn::Module* last_module = nullptr;
    bool reshard_after_forward = true;
    int64_t num_modules = 0;
    int64_t num_modules_left = 0;  // whose backward has not run in this micro-batch
  };

  void before_use(size_t index);
  void after_use(size_t index, const nn::Module& module);
  void before_backward(size_t index);
  void gradients_ready(size_t index);
  void make_whole(size_t index);
  void prefetch(size_t index);
  void finish_reduction();

  std::vector<Unit> units_;
  std::vector<std::pair<nn::Module*, nn::HookId>> hooks_;
  FsdpGroup* reducing_ = nullptr;  // one reduction at a time, so that no more than one unit's gradients are whole
  bool left_to_caller_ = false;
  bool communicate_ = true;
  bool in_backward_ = false;
  int64_t max_units_unsharded_ = 0;
};

}  // namespace titan::parallel
