// How tensor parallelism treats one module: what its parameters, its input and its output look like on the tensor
// parallel axis. Plans are tables of these (models/<m>/sharding), data and not code; parallelize_module applies them.
// The functions that make them have the names of PyTorch's styles.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "titan/dtensor/placement.h"

namespace titan::parallel {

// A plain tensor that passes a module's edge: where it is placed, and where its gradient is.
struct Edge {
  // The gradient as its tensor. NOLINTNEXTLINE(google-explicit-constructor): a placement is what tables say
  Edge(dtensor::Placement placement) : tensor(placement), gradient(placement) {}
  Edge(dtensor::Placement placement, dtensor::Placement of_gradient) : tensor(placement), gradient(of_gradient) {}

  dtensor::Placement tensor, gradient;
};

// Whole on every rank, and each rank's gradient is a term of the whole's: whoever made the tensor sums it up, once for
// all that use it.
Edge replicate_with_gradient_terms();

struct ModuleSharding {
  std::string fqn;                                       // from the module that the plan is for: "attention.wq"
  std::map<std::string, dtensor::Placement> parameters;  // by name; all of the module's own

  // The first tensor among the arguments. Plain, it is this rank's part of a tensor placed by `input_is`; the forward
  // works with a DTensor placed by `input_becomes`. Nothing: it is left as it is.
  std::optional<Edge> input_is;
  std::optional<dtensor::Placement> input_becomes;
  // The output's placement, and whether the caller gets this rank's part of it or the DTensor. Nothing: left as it is.
  std::optional<Edge> output_becomes;
  bool output_is_local = true;

  // Communication during products (overlapped_matmul.h). Of a module whose input is spread and becomes whole: the
  // children, linear layers with plain weights spread over output features, that are called with it, each once; they
  // multiply its parts as these come. Of a linear layer whose sums end up spread: it sums them part by part.
  std::vector<std::string> multiplied_while_gathered;
  bool summed_while_multiplied = false;
};

// A linear layer whose output features are spread (Megatron-LM, Shoeybi et al. 2019, arXiv 1909.08053, section 3): each
// rank computes its columns of the result from the whole input. input_is: replicate() or shard(1), the sequence.
ModuleSharding colwise_parallel(std::string fqn, Edge input_is = dtensor::replicate(),
                                Edge output_becomes = dtensor::shard(-1), bool output_is_local = true);

// A linear layer whose input features are spread: each rank computes a term of the whole result; output_becomes says
// how the sum is left. `overlap`: spread, and summed part by part.
ModuleSharding rowwise_parallel(std::string fqn, Edge output_becomes, bool overlap = false);

// An embedding whose vocabulary is spread: each rank looks up the tokens that it has rows for.
ModuleSharding vocabulary_parallel(std::string fqn, Edge output_becomes);

// A module that works on each token by itself, a norm: its parameters are replicated and the sequence is spread
// (Korthikanti et al. 2022, arXiv 2205.05198, section 4.2.2), or not, by `activations`. Its output becomes
// `output_becomes`.
ModuleSharding sequence_parallel(std::string fqn, dtensor::Placement activations, Edge output_becomes);

// A module of several that use one input: it is brought into place once, for all of them. `overlapped`: the children
// that multiply it as it comes.
ModuleSharding prepare_module_input(std::string fqn, dtensor::Placement input_is, dtensor::Placement input_becomes,
                                    std::vector<std::string> overlapped = {});

}  // namespace titan::parallel
