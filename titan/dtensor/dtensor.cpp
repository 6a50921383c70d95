#include "titan/dtensor/dtensor.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <numeric>

#include "titan/dtensor/conversion_nodes.h"
#include "titan/dtensor/dtensor_impl.h"
#include "titan/dtensor/interposition.h"
#include "titan/dtensor/redistribute.h"

namespace titan::dtensor {
namespace {

const DTensorImpl& impl_of(const at::Tensor& tensor) {
  const DTensorImpl* const impl = dtensor_impl(tensor);
  TORCH_CHECK_VALUE(impl != nullptr, "DTensor: expected a DTensor, got ",
                    tensor.defined() ? "a plain tensor; wrap it by from_local or distribute_tensor" : "no tensor");
  return *impl;
}

bool needs_gradient(const at::Tensor& tensor) { return at::GradMode::is_enabled() && tensor.requires_grad(); }

// Of the same order of dimensions as the local tensor; contiguous where that says nothing.
std::vector<int64_t> global_strides(const at::Tensor& local, at::IntArrayRef sizes) {
  std::vector<int64_t> order(sizes.size());
  std::iota(order.begin(), order.end(), 0);
  if (!local.is_contiguous() && local.is_non_overlapping_and_dense()) {
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return local.stride(a) > local.stride(b); });
  }
  std::vector<int64_t> strides(sizes.size());
  int64_t stride = 1;
  for (auto dim = order.rbegin(); dim != order.rend(); ++dim) {
    strides[*dim] = stride;
    stride *= std::max<int64_t>(sizes[*dim], 1);
  }
  return strides;
}

Placements normalized(Placements placements, int64_t dim) {
  for (Placement& placement : placements) {
    if (placement.is_shard() && placement.dim < 0) placement.dim += static_cast<int32_t>(dim);
  }
  return placements;
}

std::vector<int64_t> sizes_of_even_shards(const at::Tensor& local, const Mesh& mesh, const Placements& placements) {
  std::vector<int64_t> sizes = local.sizes().vec();
  for (size_t axis = 0; axis < placements.size(); ++axis) {
    const Placement& placement = placements[axis];
    if (!placement.is_shard()) continue;
    TORCH_CHECK_VALUE(placement.dim < local.dim() && placement.dim >= 0, "from_local: expected a dimension of a ",
                      local.dim(), "-dimensional tensor, got ", to_string(placement));
    sizes[placement.dim] *= mesh.size(static_cast<int64_t>(axis));
  }
  return sizes;
}

// In memory of its own.
at::Tensor owned(const at::Tensor& result, const at::Tensor& source) {
  if (result.is_alias_of(source)) return result.clone(at::MemoryFormat::Contiguous);
  return result.contiguous();
}

}  // namespace

bool is_dtensor(const at::Tensor& tensor) { return dtensor_impl(tensor) != nullptr; }
const Spec& spec_of(const at::Tensor& dtensor) { return impl_of(dtensor).spec(); }
const Placements& placements_of(const at::Tensor& dtensor) { return spec_of(dtensor).placements; }
Mesh mesh_of(const at::Tensor& dtensor) { return Mesh(impl_of(dtensor).mesh()); }
const at::Tensor& local_of(const at::Tensor& dtensor) { return impl_of(dtensor).local(); }

at::Tensor from_local(const at::Tensor& local, const Mesh& mesh, const Placements& placements,
                      at::OptionalIntArrayRef global_sizes) {
  TORCH_CHECK_VALUE(!is_dtensor(local), "from_local: expected a plain tensor, got a DTensor");
  TORCH_CHECK_VALUE(static_cast<int64_t>(placements.size()) == mesh.num_axes(),
                    "from_local: expected one placement for each axis of ", mesh.name(), ", got ",
                    to_string(placements));
  ensure_interposition();
  const Placements placed = normalized(placements, local.dim());
  const std::vector<int64_t> sizes =
      global_sizes.has_value() ? global_sizes->vec() : sizes_of_even_shards(local, mesh, placed);
  const Spec* const spec = intern_spec(*mesh.state(), placed, sizes, global_strides(local, sizes), local.scalar_type());
  TORCH_CHECK_VALUE(spec->local_sizes == local.sizes(), "from_local: expected a local part ",
                    at::IntArrayRef(spec->local_sizes), " of ", to_string(*spec), ", got ", local.sizes(),
                    "; pass the global sizes where shards are uneven");
  if (!needs_gradient(local)) {
    return make_dtensor(mesh.state(), spec, local.requires_grad() ? local.detach() : local);
  }
  at::Tensor dtensor = make_dtensor(mesh.state(), spec, local.detach());
  track_from_local(local, dtensor);
  return dtensor;
}

at::Tensor redistribute(const at::Tensor& dtensor, const Placements& placements) {
  const DTensorImpl& impl = impl_of(dtensor);
  const Spec* const goal = with_placements(impl.spec(), placements);
  if (goal == &impl.spec()) return dtensor;
  const RedistributePlan& plan = plan_redistribution(impl.spec(), goal->placements);
  const auto run = [&] {
    return make_dtensor(impl.mesh(), goal, owned(redistribute_local(impl.local(), plan), impl.local()));
  };
  at::Tensor result;
  {
    const at::NoGradGuard no_grad;
    if (plan.communication) {
      result = communicate(*plan.communication, run);
    } else {
      const WithoutModes unseen;
      result = run();
    }
  }
  if (needs_gradient(dtensor)) track_redistribute(dtensor, result);
  return result;
}

at::Tensor to_local(const at::Tensor& dtensor, const std::optional<Placements>& grad_placements) {
  const DTensorImpl& impl = impl_of(dtensor);
  at::Tensor local = impl.local().detach();
  if (needs_gradient(dtensor)) {
    track_to_local(dtensor, local, grad_placements.value_or(gradient_placements(impl.spec().placements)));
  }
  return local;
}

at::Tensor full_tensor(const at::Tensor& dtensor, const std::optional<Placements>& grad_placements) {
  return to_local(redistribute(dtensor, Placements(spec_of(dtensor).placements.size())), grad_placements);
}

at::Tensor distribute_tensor(const at::Tensor& tensor, const Mesh& mesh, const Placements& placements,
                             const DistributeOptions& options) {
  if (needs_gradient(tensor)) {
    const at::Tensor whole = tensor.is_meta() || !options.broadcast ? tensor : broadcast_with_grad(tensor, mesh);
    return redistribute(from_local(whole, mesh, Placements(placements.size())), placements);
  }
  at::Tensor whole = tensor.detach();
  if (options.broadcast && mesh.size() > 1 && !tensor.is_meta()) {
    whole = whole.clone(at::MemoryFormat::Contiguous);
    distributed::broadcast_(whole, 0, mesh.group()).wait();
  }
  const at::Tensor replicated = from_local(whole, mesh, Placements(placements.size()));
  at::Tensor result = redistribute(replicated, placements);
  if (!local_of(result).is_alias_of(tensor)) return result;
  const DTensorImpl& impl = impl_of(result);
  return make_dtensor(impl.mesh(), &impl.spec(), impl.local().clone(at::MemoryFormat::Contiguous));
}

// --- redistribution under way ---

struct PendingRedistribution::State {
  at::Tensor source;
  const Spec* goal;
  const RedistributePlan* plan;
  std::optional<distributed::Pending> first;
  at::Tensor result;
};

PendingRedistribution::PendingRedistribution(std::unique_ptr<State> state) : state_(std::move(state)) {}
PendingRedistribution::~PendingRedistribution() = default;
PendingRedistribution::PendingRedistribution(PendingRedistribution&&) noexcept = default;
PendingRedistribution& PendingRedistribution::operator=(PendingRedistribution&&) noexcept = default;

PendingRedistribution redistribute_async(const at::Tensor& dtensor, const Placements& placements) {
  const DTensorImpl& impl = impl_of(dtensor);
  auto state = std::make_unique<PendingRedistribution::State>();
  state->source = dtensor;
  state->goal = with_placements(impl.spec(), placements);
  state->plan = &plan_redistribution(impl.spec(), state->goal->placements);
  if (state->goal == &impl.spec()) {
    state->result = dtensor.detach();
  } else if (!state->plan->transitions.empty() && !impl.local().is_meta()) {
    const at::NoGradGuard no_grad;
    const WithoutModes unseen;
    state->first = start_transition(impl.local(), state->plan->transitions.front());
  }
  return PendingRedistribution(std::move(state));
}

at::Tensor PendingRedistribution::wait() {
  if (state_->result.defined()) return state_->result;
  const at::NoGradGuard no_grad;
  const WithoutModes unseen;
  const DTensorImpl& impl = impl_of(state_->source);
  at::Tensor local = impl.local();
  if (state_->first.has_value()) {
    local = state_->first->wait();
    const auto& transitions = state_->plan->transitions;
    for (size_t i = 1; i < transitions.size(); ++i) local = start_transition(local, transitions[i]).wait();
  } else {
    local = redistribute_local(local, *state_->plan);
  }
  state_->result = make_dtensor(impl.mesh(), state_->goal, owned(local, impl.local()));
  return state_->result;
}

}  // namespace titan::dtensor
