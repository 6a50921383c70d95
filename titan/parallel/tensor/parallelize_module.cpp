#include "titan/parallel/tensor/parallelize_module.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include <map>
#include <string_view>

#include "titan/dtensor/dtensor.h"

namespace titan::parallel {
namespace {

using dtensor::Mesh;
using dtensor::Placement;

// The module at `fqn` below `root`; null if it or one on the way is absent.
nn::Module* find(nn::Module& root, std::string_view fqn) {
  nn::Module* module = &root;
  while (!fqn.empty() && module != nullptr) {
    const size_t dot = fqn.find('.');
    const std::string_view name = fqn.substr(0, dot);
    const nn::ChildSlot* slot = nullptr;
    for (const nn::ChildSlot* child : module->children()) {
      if (child->name() == name) slot = child;
    }
    TORCH_INTERNAL_ASSERT(slot != nullptr, "no module '", std::string(name), "' in '", module->fqn(), "'");
    module = slot->module();
    fqn = dot == std::string_view::npos ? std::string_view() : fqn.substr(dot + 1);
  }
  return module;
}

// A replicated input whose gradient stays a term of the sum: whoever made the input sums it up, once for all that use
// it.
struct ReplicateWithTerms : torch::autograd::Function<ReplicateWithTerms> {
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& x, const Mesh& mesh) {
    return dtensor::from_local(x.detach(), mesh, {dtensor::replicate()});
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list& gradients) {
    const at::Tensor terms = dtensor::redistribute(gradients[0], {dtensor::partial()});
    return {dtensor::local_of(terms), {}};
  }
};

at::Tensor enter(const at::Tensor& x, const Mesh& mesh, const Placement& is, const Placement& becomes) {
  if (dtensor::is_dtensor(x)) return dtensor::redistribute(x, {becomes});
  if (is.is_partial()) return ReplicateWithTerms::apply(x, mesh);
  return dtensor::redistribute(dtensor::from_local(x, mesh, {is}), {becomes});
}

at::Tensor leave(const at::Tensor& y, const Placement& becomes, bool is_local) {
  // A replicated result that is handed on as a plain tensor gets its gradient as terms of each rank: see above.
  if (becomes.is_partial()) {
    return dtensor::to_local(dtensor::redistribute(y, {dtensor::replicate()}), dtensor::Placements{dtensor::partial()});
  }
  const at::Tensor placed = dtensor::redistribute(y, {becomes});
  return is_local ? dtensor::to_local(placed) : placed;
}

}  // namespace

void parallelize_module(nn::Module& root, const Mesh& mesh, const std::vector<ModuleSharding>& plan) {
  std::map<const at::TensorImpl*, at::Tensor> placed;  // tied parameters
  std::vector<at::Tensor> keep_alive;                  // whose addresses are the keys
  for (const ModuleSharding& sharding : plan) {
    nn::Module* const module = find(root, sharding.fqn);
    if (module == nullptr) continue;

    // 1. Its parameters.
    for (nn::Parameter* slot : module->own_parameters()) {
      const auto placement = sharding.parameters.find(slot->name());
      TORCH_INTERNAL_ASSERT(placement != sharding.parameters.end(), "the plan does not place ", slot->fqn());
      const at::Tensor whole = slot->get();
      keep_alive.push_back(whole);
      at::Tensor& tensor = placed[whole.unsafeGetTensorImpl()];
      if (!tensor.defined()) {
        tensor = dtensor::distribute_tensor(whole.detach(), mesh, {placement->second}, {.broadcast = false});
        tensor.set_requires_grad(whole.requires_grad());
      }
      slot->set(tensor);
    }

    // 2. What goes in and out.
    if (sharding.input_is.has_value()) {
      module->register_forward_pre_hook(
          [mesh, is = *sharding.input_is, becomes = *sharding.input_becomes](nn::Module&, nn::Inputs inputs) {
            *inputs.front() = enter(*inputs.front(), mesh, is, becomes);
          });
    }
    if (sharding.output_becomes.has_value()) {
      module->register_forward_hook(
          [becomes = *sharding.output_becomes, is_local = sharding.output_is_local](
              nn::Module&, nn::Inputs, at::Tensor& output) { output = leave(output, becomes, is_local); });
    }
  }
}

}  // namespace titan::parallel
