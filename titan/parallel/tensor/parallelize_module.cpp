#include "titan/parallel/tensor/parallelize_module.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include <map>
#include <optional>
#include <string_view>

#include "titan/dtensor/dtensor.h"
#include "titan/nn/linear.h"
#include "titan/parallel/tensor/overlapped_linear.h"

namespace titan::parallel {
namespace {

using dtensor::Mesh;
using dtensor::Placement;

// The place of the module at `fqn` below `root`; null if one on the way to it is absent.
nn::ChildSlot* find(nn::Module& root, std::string_view fqn) {
  nn::Module* module = &root;
  nn::ChildSlot* slot = nullptr;
  while (!fqn.empty() && module != nullptr) {
    const size_t dot = fqn.find('.');
    const std::string_view name = fqn.substr(0, dot);
    slot = nullptr;
    for (nn::ChildSlot* child : module->children()) {
      if (child->name() == name) slot = child;
    }
    TORCH_INTERNAL_ASSERT(slot != nullptr, "no module '", std::string(name), "' in '", module->fqn(), "'");
    module = slot->module();
    fqn = dot == std::string_view::npos ? std::string_view() : fqn.substr(dot + 1);
  }
  return fqn.empty() ? slot : nullptr;
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

// num_features: of the whole input, where its last dimension is spread; parts may then be of unequal size.
at::Tensor enter(const at::Tensor& x, const Mesh& mesh, const Edge& is, const Placement& becomes,
                 std::optional<int64_t> num_features) {
  if (dtensor::is_dtensor(x)) return dtensor::redistribute(x, {becomes});
  if (is.gradient.is_partial()) return ReplicateWithTerms::apply(x, mesh);
  if (!num_features.has_value()) return dtensor::redistribute(dtensor::from_local(x, mesh, {is.tensor}), {becomes});
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = *num_features;
  return dtensor::redistribute(dtensor::from_local(x, mesh, {is.tensor}, sizes), {becomes});
}

at::Tensor leave(const at::Tensor& y, const Edge& becomes, bool is_local) {
  const at::Tensor placed = dtensor::redistribute(y, {becomes.tensor});
  return is_local ? dtensor::to_local(placed, dtensor::Placements{becomes.gradient}) : placed;
}

// Puts a layer of ours in the place of a linear layer.
template <class Layer, class... Args>
std::shared_ptr<Layer> put(nn::ChildSlot& slot, Args... args) {
  const auto* const linear = dynamic_cast<const nn::Linear*>(slot.module());
  TORCH_INTERNAL_ASSERT(linear != nullptr, slot.module()->fqn(), " is no linear layer, so its product cannot overlap");
  auto layer = std::make_shared<Layer>(*linear, args...);
  slot.replace(layer);
  return layer;
}

// The part of `sharding` that says what overlaps.
void overlap_input(nn::Module& module, const ModuleSharding& sharding) {
  const Placement& spread = sharding.input_is->tensor;
  TORCH_INTERNAL_ASSERT(spread.is_shard() && sharding.input_becomes->is_replicate(), module.fqn(),
                        ": only a gather can overlap products");
  std::vector<GatheredLinear*> layers;  // they live as long as the module whose children they are
  for (const std::string& name : sharding.multiplied_while_gathered) {
    nn::ChildSlot* const child = find(module, name);
    layers.push_back(put<GatheredLinear>(*child).get());
  }
  module.register_forward_pre_hook([layers, dim = spread.dim](nn::Module&, nn::Inputs inputs) {
    *inputs.front() = GatheredLinear::gather(*inputs.front(), layers, dim);
  });
}

void hook_edges(nn::Module& module, const Mesh& mesh, const ModuleSharding& sharding) {
  if (sharding.input_is.has_value()) {
    // A layer whose input features are spread knows their number.
    std::optional<int64_t> num_features;
    const auto* const linear = dynamic_cast<const nn::Linear*>(&module);
    if (linear != nullptr && sharding.input_is->tensor.is_shard(-1)) num_features = linear->weight.get().size(1);
    module.register_forward_pre_hook([mesh, is = *sharding.input_is, becomes = *sharding.input_becomes, num_features](
                                         nn::Module&, nn::Inputs inputs) {
      *inputs.front() = enter(*inputs.front(), mesh, is, becomes, num_features);
    });
  }
  if (sharding.output_becomes.has_value()) {
    module.register_forward_hook(
        [becomes = *sharding.output_becomes, is_local = sharding.output_is_local](
            nn::Module&, nn::Inputs, at::Tensor& output) { output = leave(output, becomes, is_local); });
  }
}

}  // namespace

void parallelize_module(nn::Module& root, const Mesh& mesh, const std::vector<ModuleSharding>& plan) {
  std::map<const at::TensorImpl*, at::Tensor> placed;  // tied parameters
  std::vector<at::Tensor> keep_alive;                  // whose addresses are the keys
  for (const ModuleSharding& sharding : plan) {
    nn::ChildSlot* const slot = find(root, sharding.fqn);
    if (slot == nullptr || slot->module() == nullptr) continue;

    // 1. Layers whose products overlap communication; they need no hooks.
    const bool scatters = sharding.summed_while_multiplied;
    if (scatters) {
      const Placement& becomes = sharding.output_becomes->tensor;
      TORCH_INTERNAL_ASSERT(becomes.is_shard(), slot->module()->fqn(), ": only a scatter can overlap the product");
      put<ScatteredLinear>(*slot, becomes.dim);
    }
    nn::Module& module = *slot->module();
    const bool gathers = !sharding.multiplied_while_gathered.empty();
    if (gathers) overlap_input(module, sharding);

    // 2. Its parameters.
    for (nn::Parameter* parameter : module.own_parameters()) {
      const auto placement = sharding.parameters.find(parameter->name());
      TORCH_INTERNAL_ASSERT(placement != sharding.parameters.end(), "the plan does not place ", parameter->fqn());
      const at::Tensor whole = parameter->get();
      keep_alive.push_back(whole);
      at::Tensor& tensor = placed[whole.unsafeGetTensorImpl()];
      if (!tensor.defined()) {
        tensor = dtensor::distribute_tensor(whole.detach(), mesh, {placement->second}, {.broadcast = false});
        tensor.set_requires_grad(whole.requires_grad());
      }
      parameter->set(tensor);
    }

    // 3. What goes in and out.
    const bool is_gathered = dynamic_cast<const GatheredLinear*>(&module) != nullptr;
    if (!scatters && !gathers && !is_gathered) hook_edges(module, mesh, sharding);
  }
}

}  // namespace titan::parallel
