#include "titan/dtensor/conversion_nodes.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include "titan/distributed/collectives.h"
#include "titan/distributed/recorder/served_module.h"
#include "titan/dtensor/dtensor.h"

namespace titan::dtensor {
namespace {

using distributed::recorder::ServedModule;
using torch::autograd::Node;
using torch::autograd::variable_list;

// Autograd may hand over plain zeros of the global shape: [Note: plain tensors].
at::Tensor as_dtensor(const at::Tensor& gradient, const Mesh& mesh) {
  return is_dtensor(gradient) ? gradient : from_local(gradient, mesh, Placements(mesh.num_axes()));
}

// A backward communicates for the module that the forward did.
struct CommunicatingNode : Node {
  distributed::recorder::ModuleName served = distributed::recorder::served_module();
};

struct FromLocalBackward : CommunicatingNode {
  FromLocalBackward(Mesh of, Placements placed) : mesh(std::move(of)), placements(std::move(placed)) {}
  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return {at::Tensor()};
    const ServedModule scope(served);
    return {to_local(redistribute(as_dtensor(gradients[0], mesh), placements))};
  }
  std::string name() const override { return "FromLocalBackward"; }

  Mesh mesh;
  Placements placements;  // of the gradient
};

struct ToLocalBackward : Node {
  ToLocalBackward(Mesh of, Placements placed, std::vector<int64_t> global_sizes)
      : mesh(std::move(of)), placements(std::move(placed)), sizes(std::move(global_sizes)) {}
  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return {at::Tensor()};
    return {from_local(gradients[0], mesh, placements, sizes)};
  }
  std::string name() const override { return "ToLocalBackward"; }

  Mesh mesh;
  Placements placements;  // of the gradient
  std::vector<int64_t> sizes;
};

struct RedistributeBackward : CommunicatingNode {
  RedistributeBackward(Mesh of, Placements placed) : mesh(std::move(of)), placements(std::move(placed)) {}
  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return {at::Tensor()};
    const ServedModule scope(served);
    return {redistribute(as_dtensor(gradients[0], mesh), placements)};
  }
  std::string name() const override { return "RedistributeBackward"; }

  Mesh mesh;
  Placements placements;  // of the gradient
};

struct BroadcastBackward : Node {
  variable_list apply(variable_list&& gradients) override { return {gradients[0]}; }
  std::string name() const override { return "BroadcastBackward"; }
};

template <class MyNode, class... Args>
void track(const at::Tensor& input, at::Tensor& result, Args&&... args) {
  const auto node = std::shared_ptr<Node>(new MyNode(std::forward<Args>(args)...), torch::autograd::deleteNode);
  node->set_next_edges(torch::autograd::collect_next_edges(input));
  torch::autograd::set_history(result, node);
}

}  // namespace

Placements gradient_placements(const Placements& placements) {
  Placements result = placements;
  for (Placement& placement : result) {
    if (placement.is_partial()) placement = replicate();
  }
  return result;
}

void track_from_local(const at::Tensor& local, at::Tensor& dtensor) {
  track<FromLocalBackward>(local, dtensor, mesh_of(dtensor), gradient_placements(placements_of(dtensor)));
}

void track_to_local(const at::Tensor& dtensor, at::Tensor& local, const Placements& grad_placements) {
  track<ToLocalBackward>(dtensor, local, mesh_of(dtensor), grad_placements, spec_of(dtensor).sizes);
}

void track_redistribute(const at::Tensor& dtensor, at::Tensor& result) {
  track<RedistributeBackward>(dtensor, result, mesh_of(dtensor), gradient_placements(placements_of(dtensor)));
}

at::Tensor broadcast_with_grad(const at::Tensor& tensor, const Mesh& mesh) {
  at::Tensor result = tensor.detach().clone(at::MemoryFormat::Contiguous);
  distributed::broadcast_(result, 0, mesh.group()).wait();
  track<BroadcastBackward>(tensor, result);
  return result;
}

}  // namespace titan::dtensor
