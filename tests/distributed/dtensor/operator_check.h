// Runs a function on plain tensors and on DTensors placed in every way, and compares what comes out, forward and
// backward.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "titan/dtensor/dtensor.h"

namespace titan::test {

using Tensors = std::vector<at::Tensor>;
using Function = std::function<Tensors(const Tensors&)>;

struct OperatorCheckOptions {
  bool backward = true;     // of floating outputs, to floating inputs
  double tolerance = 1e-5;  // relative and absolute; sums over ranks are in another order
  bool partial_inputs = true;
  size_t num_samples = 40;         // of the placements of all inputs; all of them with TITAN_TEST_ALL=1
  bool shared_placements = false;  // all inputs are placed alike
};

// Collective over the mesh; `inputs` are the same on every rank. Every mistake is a failure that names the operator
// and the placements.
void check_operator(const std::string& name, const Function& function, const Tensors& inputs, const dtensor::Mesh& mesh,
                    const OperatorCheckOptions& options = {});

// A DTensor of `whole` whose terms, where it is Partial, differ from rank to rank.
at::Tensor place(const at::Tensor& whole, const dtensor::Mesh& mesh, const dtensor::Placements& placements);

// What an axis can do with a tensor.
dtensor::Placements placements_on_axis(const at::Tensor& tensor, bool with_partial);

}  // namespace titan::test
