// Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): what a module's forward would leave for its backward
// is dropped, and computed again when the backward asks for it. Non-reentrant: the graph of the first forward stays,
// only the tensors in it come back, so everything that hangs on autograd works through it. Which results are kept after
// all is for a policy to say (kept_results.h); none gives full checkpointing.
//
// [Note: what recomputation repeats]
// The forward of the module alone, within its use hooks: parameters are cast or gathered as in the first run. Its own
// pre- and post-hooks and its backward hooks are outside; those of the modules in it run again, as their calls do.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "titan/nn/module.h"

namespace titan::activation_checkpoint {

class OperatorPolicy;

struct CheckpointOptions {
  bool preserve_rng_state = true;  // random operators draw the same numbers again
  bool early_stop = false;         // recomputation ends as soon as the backward has what it needs
  bool check_determinism = true;   // recomputed tensors must have the shapes, dtypes and devices of the first ones
  bool debug = false;              // such a mistake comes with the operators of both runs
  // For each forward; none, or a null policy: nothing is kept.
  std::function<std::unique_ptr<OperatorPolicy>()> make_policy;
  // If given, asked before each forward whether to checkpoint it at all.
  std::function<bool()> applies;
};

// What checkpointing did with a module so far, for tests and for those who wonder.
struct CheckpointCounts {
  int64_t forwards = 0;
  int64_t recomputations = 0;
  int64_t input_bytes = 0;  // of the last forward: what stays of its inputs
  int64_t kept_bytes = 0;   // and of results that the policy keeps
};

// Throws c10::Error in the backward if the second run is not like the first, with the module's name. The counts live as
// long as the caller wants.
std::shared_ptr<const CheckpointCounts> checkpoint(nn::Module& module, CheckpointOptions options);

}  // namespace titan::activation_checkpoint
