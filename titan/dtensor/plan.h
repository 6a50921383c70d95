// What to do for a call of an operator with operands placed in a certain way: made once, kept with the mesh, and run
// for every such call after. Private to titan/dtensor.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/core/DispatchKey.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "titan/dtensor/rule.h"
#include "titan/dtensor/spec.h"

namespace titan::dtensor {

struct RedistributePlan;

struct Plan {
  struct Input {
    int64_t argument = 0, index = -1;                  // index: in the argument's list
    bool is_dtensor = true;                            // else it stays as it is
    const RedistributePlan* redistribution = nullptr;  // null: none needed
  };
  struct Output {
    const Spec* spec = nullptr;  // null: stays a plain tensor
    int64_t input = -1;          // the input that it is (in place), whose wrapper is returned
    int64_t view_of = -1;        // the input whose memory it shares
    int64_t storage_offset = 0;  // beyond that input's
  };
  struct Result {
    bool is_list = false;
    int64_t begin = 0, end = 0;  // its outputs; empty: not a tensor, stays as it is
  };

  std::vector<Input> inputs;
  std::vector<std::pair<int64_t, c10::IValue>> rewrites;  // arguments that have a local meaning
  LocalKernel kernel;                                     // empty: the operator itself
  std::vector<Output> outputs;
  std::vector<Result> results;
  // [Note: writing terms]
  // An operator that is not linear cannot write to a Partial tensor in place. ATen's composite operators do so with
  // what they have just made (rms_norm: mean(x^2).add_(eps)). Where nothing else shares its memory the tensor itself
  // is redistributed first; else that is an error.
  // Inputs that are written, with their spec after the call.
  std::vector<std::pair<int64_t, const Spec*>> written;
  // Not kUndefined: run ATen's implementation for this key instead, which calls other operators.
  c10::DispatchKey decompose = c10::DispatchKey::Undefined;
};

// Finds the operator's rule, takes the cheapest sharding and works it out. Throws c10::NotImplementedError, naming
// operator and operands, where there is no rule or none that fits. [Note: plain tensors]
std::shared_ptr<const Plan> make_plan(const c10::OperatorHandle& op, const torch::jit::Stack& stack,
                                      bool is_in_backward);

}  // namespace titan::dtensor
