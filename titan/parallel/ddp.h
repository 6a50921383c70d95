// Distributed data parallel: every rank holds the whole model and other samples; gradients are summed over ranks while
// the backward still runs (Li et al. 2020, arXiv 2006.15704, section 3.2). Sums, not means: [Note: loss scaling]. It
// knows no model: it is told which modules, its units, make one up.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "titan/distributed/collectives.h"
#include "titan/distributed/recorder/served_module.h"
#include "titan/nn/module.h"

namespace titan::parallel {

struct DdpOptions {
  int64_t bucket_bytes = 25 << 20;  // gradients travel in flat buffers of about this size
};

class DistributedDataParallel {
 public:
  // `units` in the order of the forward; each parameter belongs to the first unit that has it (a tied one to the last
  // whose gradient is ready). Parameters need not be materialised yet. Sends nothing: that all ranks start from equal
  // parameters is the initialisation's and the checkpoint's doing.
  DistributedDataParallel(const std::vector<nn::Module*>& units, std::shared_ptr<distributed::ProcessGroup> group,
                          const DdpOptions& options = {});
  ~DistributedDataParallel();
  DistributedDataParallel(const DistributedDataParallel&) = delete;
  DistributedDataParallel& operator=(const DistributedDataParallel&) = delete;

  // Before each micro-batch's forward. Only the last one's backward communicates; before that, gradients accumulate.
  void before_microbatch(bool last);

  // Instead of the last micro-batch's backward: starts reducing what all before it, told `last` = false, added up. For
  // a pipeline, which has no backward that is last for all units.
  void reduce_gradients();

  // After the last micro-batch's backward: collective over the group. Blocks until every gradient is the sum over
  // ranks; a parameter that got none on this rank counts as zero.
  void finish();

 private:
  struct Bucket {
    std::vector<nn::Parameter*> parameters;
    int64_t num_units_left = 0;  // until it can be reduced
    int64_t num_units = 0;
    int64_t numel = 0;
    distributed::recorder::ModuleName name;  // of its units, in the flight recorder
    at::Tensor flat;  // kept from step to step; between finish() and the next backward, gradients are views of it
    std::optional<distributed::Pending> pending;
  };

  void unit_ready(const std::vector<int64_t>& bucket_indices);
  void reduce(Bucket& bucket);

  std::shared_ptr<distributed::ProcessGroup> group_;
  std::vector<Bucket> buckets_;  // in the order in which they become ready
  std::vector<std::pair<nn::Module*, nn::HookId>> hooks_;
  size_t num_reduced_ = 0;
  bool communicate_ = false;
};

}  // namespace titan::parallel
