// How tensor parallelism treats one module: what its parameters, its input and its output look like on the tensor
// parallel axis. Plans are tables of these (models/<m>/sharding), data and not code; parallelize_module applies them.
// The functions that make them have the names of PyTorch's styles.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "titan/dtensor/placement.h"

namespace titan::parallel {

struct ModuleSharding {
  std::string fqn;                                       // from the module that the plan is for: "attention.wq"
  std::map<std::string, dtensor::Placement> parameters;  // by name; all of the module's own

  // The first tensor among the arguments. Plain, it is this rank's part of a tensor placed by `input_is`; the forward
  // works with a DTensor placed by `input_becomes`. Nothing: it is left as it is. partial() as `input_is` says that the
  // input is whole and its gradient leaves as this rank's term.
  std::optional<dtensor::Placement> input_is, input_becomes;
  // The output's placement, and whether the caller gets this rank's part of it or the DTensor. Nothing: left as it is.
  // partial() says that the caller gets the whole, and hands its gradient back as each rank's term.
  std::optional<dtensor::Placement> output_becomes;
  bool output_is_local = true;
};

// A linear layer whose output features are spread (Megatron-LM, Shoeybi et al. 2019, arXiv 1909.08053, section 3): each
// rank computes its columns of the result from the whole input. input_is: replicate() or shard(1), the sequence.
ModuleSharding colwise_parallel(std::string fqn, dtensor::Placement input_is = dtensor::replicate(),
                                dtensor::Placement output_becomes = dtensor::shard(-1), bool output_is_local = true);

// A linear layer whose input features are spread: each rank computes a term of the whole result; output_becomes says
// how the sum is left.
ModuleSharding rowwise_parallel(std::string fqn, dtensor::Placement output_becomes);

// An embedding whose vocabulary is spread: each rank looks up the tokens that it has rows for.
ModuleSharding vocabulary_parallel(std::string fqn, dtensor::Placement output_becomes);

// A module that works on each token by itself, a norm: its parameters are replicated and the sequence is spread
// (Korthikanti et al. 2022, arXiv 2205.05198, section 4.2.2), or not, by `activations`. Its output becomes
// `output_becomes`.
ModuleSharding sequence_parallel(std::string fqn, dtensor::Placement activations, dtensor::Placement output_becomes);

// A module of several that use one input: it is brought into place once, for all of them.
ModuleSharding prepare_module_input(std::string fqn, dtensor::Placement input_is, dtensor::Placement input_becomes);

}  // namespace titan::parallel
