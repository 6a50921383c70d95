// Operators that make one number of many along some dimensions. Sums and extrema over a sharded dimension leave a term
// on each rank; what is neither needs the dimension whole.
#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/sum.h>
#include <c10/core/WrapDimMinimal.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "titan/dtensor/mesh_state.h"
#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/families.h"
#include "titan/dtensor/rules/strategies.h"

namespace titan::dtensor {
namespace {

using torch::jit::Stack;

// The dimensions that are reduced: those named by the argument `dim`, all if it is not there, None or empty.
std::vector<bool> reduced_dims(const Call& call) {
  const int64_t num_dims = call.operands.front().dim();
  const std::vector<int64_t> named = call.has_argument("dim") ? call.integers("dim") : std::vector<int64_t>{};
  std::vector<bool> reduced(static_cast<size_t>(num_dims), named.empty());
  for (const int64_t dim : named) {
    if (num_dims > 0) reduced[c10::maybe_wrap_dim(dim, num_dims)] = true;
  }
  return reduced;
}

// Shards of the other dimensions stay; over a sharded dimension that is reduced, ranks have `terms` of the result.
std::vector<Strategy> reduction(const Call& call, std::optional<Placement> terms) {
  const std::vector<bool> reduced = reduced_dims(call);
  const bool keeps = call.has_argument("keepdim") && call.boolean("keepdim");
  std::vector<Strategy> strategies;
  int64_t result_dim = 0;
  for (size_t dim = 0; dim < reduced.size(); ++dim) {
    Strategy strategy{Placements(call.operands.size()), Placements(call.outputs.size())};
    strategy.inputs.front() = shard(static_cast<int64_t>(dim));
    if (!reduced[dim]) {
      std::fill(strategy.outputs.begin(), strategy.outputs.end(), shard(result_dim++));
      strategies.push_back(std::move(strategy));
      continue;
    }
    if (keeps) ++result_dim;
    if (!terms.has_value()) continue;
    std::fill(strategy.outputs.begin(), strategy.outputs.end(), *terms);
    strategies.push_back(std::move(strategy));
  }
  return strategies;
}

// For those that do not run on the meta device.
std::vector<at::Tensor> reduction_outputs(const Call& call) {
  const std::vector<bool> reduced = reduced_dims(call);
  const bool keeps = call.has_argument("keepdim") && call.boolean("keepdim");
  std::vector<int64_t> sizes;
  for (size_t dim = 0; dim < reduced.size(); ++dim) {
    if (!reduced[dim] || keeps) sizes.push_back(reduced[dim] ? 1 : call.operands.front().sizes()[dim]);
  }
  std::vector<at::Tensor> outputs;
  for (const at::ScalarType dtype : result_dtypes(call)) {
    outputs.push_back(at::empty(sizes, call.operands.front().meta.options().dtype(dtype)));
  }
  return outputs;
}

std::vector<Strategy> with_terms_of(const Call& call, std::vector<Strategy> strategies,
                                    std::initializer_list<ReduceOp> ops) {
  for (const Placement& term : call.partials()) {
    if (std::find(ops.begin(), ops.end(), term.reduce_op) == ops.end()) continue;
    Strategy strategy{Placements(call.operands.size()), Placements(call.outputs.size(), term)};
    strategy.inputs.front() = term;
    strategies.push_back(std::move(strategy));
  }
  return strategies;
}

std::vector<Strategy> sum(const Call& call) {
  return with_terms_of(call, reduction(call, partial()), {ReduceOp::kSum, ReduceOp::kAvg});
}

// Any number of true values, all of none: bool reductions of extrema.
std::vector<Strategy> any(const Call& call) { return reduction(call, partial(ReduceOp::kMax)); }
std::vector<Strategy> all(const Call& call) { return reduction(call, partial(ReduceOp::kMin)); }

std::vector<Strategy> largest(const Call& call) {
  return with_terms_of(call, reduction(call, partial(ReduceOp::kMax)), {ReduceOp::kMax});
}
std::vector<Strategy> smallest(const Call& call) {
  return with_terms_of(call, reduction(call, partial(ReduceOp::kMin)), {ReduceOp::kMin});
}

// Needs all elements along the reduced dimensions.
std::vector<Strategy> whole(const Call& call) { return reduction(call, std::nullopt); }

// --- local parts ---

bool is_sharded_along(const Spec& spec, const std::vector<bool>& dims) {
  return std::any_of(spec.placements.begin(), spec.placements.end(),
                     [&](const Placement& placement) { return placement.is_shard() && dims[placement.dim]; });
}

// A term of a mean is a sum over the number of all elements: shards may be of different sizes.
LocalKernel local_mean(const Call& call, const Placed& placed) {
  const std::vector<bool> reduced = reduced_dims(call);
  if (!is_sharded_along(*placed.inputs[0], reduced)) return {};
  TORCH_CHECK_NOT_IMPLEMENTED(!call.schema.arguments().back().is_out(), "DTensor: ", call.text(),
                              ": over a sharded dimension only without out=");
  double count = 1;
  std::vector<int64_t> dims;
  for (size_t dim = 0; dim < reduced.size(); ++dim) {
    if (!reduced[dim]) continue;
    count *= static_cast<double>(placed.inputs[0]->sizes[dim]);
    dims.push_back(static_cast<int64_t>(dim));
  }
  const bool keeps = call.has_argument("keepdim") && call.boolean("keepdim");
  const at::ScalarType dtype = call.outputs.front().meta.scalar_type();
  const size_t num_arguments = call.schema.arguments().size();
  return [=](const c10::OperatorHandle&, Stack& stack) {
    const at::Tensor self = stack[stack.size() - num_arguments].toTensor();
    stack.resize(stack.size() - num_arguments);
    stack.emplace_back(at::sum(self, dims, keeps, dtype).div_(count));
  };
}

at::Scalar never_wins(at::ScalarType dtype, bool is_max) {
  if (c10::isFloatingType(dtype)) {
    return is_max ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  }
  if (dtype == at::kBool) return !is_max;
  return AT_DISPATCH_INTEGRAL_TYPES(dtype, "never_wins", [&] {
    using Limits = std::numeric_limits<scalar_t>;
    return at::Scalar(is_max ? Limits::lowest() : Limits::max());
  });
}

// An extremum of no element is the one that never wins.
LocalKernel local_extremum(const Call& call, const Placed& placed, bool is_max) {
  const Spec& input = *placed.inputs[0];
  const std::vector<bool> reduced = reduced_dims(call);
  bool is_empty = false;
  for (size_t dim = 0; dim < reduced.size(); ++dim) {
    is_empty |= reduced[dim] && input.local_sizes[dim] == 0 && input.sizes[dim] > 0;
  }
  if (!is_empty) return {};
  const at::ScalarType dtype = call.outputs.front().meta.scalar_type();
  const at::Scalar neutral = never_wins(dtype, is_max);
  return [=, sizes = placed.outputs[0]->local_sizes, num_arguments = call.schema.arguments().size()](
             const c10::OperatorHandle&, Stack& stack) {
    const at::Tensor self = stack[stack.size() - num_arguments].toTensor();
    stack.resize(stack.size() - num_arguments);
    stack.emplace_back(at::full(sizes, neutral, self.options()));
  };
}

LocalKernel local_max(const Call& call, const Placed& placed) { return local_extremum(call, placed, true); }
LocalKernel local_min(const Call& call, const Placed& placed) { return local_extremum(call, placed, false); }

// --- norms ---

// The reduced dimensions may be sharded: local norms are joined by one all_reduce inside the kernel, and the result is
// there on every rank.
std::vector<Strategy> norm(const Call& call) { return reduction(call, replicate()); }

LocalKernel local_norm(const Call& call, const Placed& placed) {
  const std::vector<bool> reduced = reduced_dims(call);
  const Spec& input = *placed.inputs[0];
  if (!is_sharded_along(input, reduced)) return {};
  TORCH_CHECK_NOT_IMPLEMENTED(!call.schema.arguments().back().is_out(), "DTensor: ", call.text(),
                              ": over a sharded dimension only without out=");
  std::vector<std::shared_ptr<distributed::ProcessGroup>> groups;
  for (size_t axis = 0; axis < input.placements.size(); ++axis) {
    const Placement& placement = input.placements[axis];
    if (placement.is_shard() && reduced[placement.dim]) groups.push_back(input.mesh->groups[axis]);
  }
  const double order = call.argument("ord").toScalar().toDouble();
  const at::ScalarType dtype = call.outputs.front().meta.scalar_type();
  std::vector<int64_t> dims;
  for (size_t dim = 0; dim < reduced.size(); ++dim) {
    if (reduced[dim]) dims.push_back(static_cast<int64_t>(dim));
  }
  const bool keeps = call.boolean("keepdim");
  const std::vector<int64_t> sizes = placed.outputs[0]->local_sizes;
  const size_t num_arguments = call.schema.arguments().size();
  return [=](const c10::OperatorHandle&, Stack& stack) {
    const at::Tensor self = stack[stack.size() - num_arguments].toTensor();
    const bool is_extremum = std::isinf(order);
    at::Tensor result = [&] {
      if (self.numel() == 0) {
        const double nothing = is_extremum && order < 0 ? std::numeric_limits<double>::infinity() : 0;
        return at::full(sizes, nothing, self.options().dtype(dtype));
      }
      return at::linalg_vector_norm(self, order, dims, keeps, dtype);
    }();
    const ReduceOp op = !is_extremum ? ReduceOp::kSum : order > 0 ? ReduceOp::kMax : ReduceOp::kMin;
    if (!is_extremum && order != 0) result = result.pow(order);
    for (const auto& group : groups) result = distributed::all_reduce(result, op, *group).wait();
    if (!is_extremum && order != 0) result = result.pow(1 / order);
    stack.resize(stack.size() - num_arguments);
    stack.emplace_back(std::move(result));
  };
}

// --- along one dimension ---

// The dimension named by `dim` whole, the others as they come; results have the operand's dimensions.
std::vector<Strategy> along(const Call& call) {
  const Operand& self = call.operands.front();
  std::vector<bool> is_cut(static_cast<size_t>(self.dim()), false);
  for (const int64_t dim : call.integers(call.has_argument("dim") ? "dim" : "dims")) {
    if (self.dim() > 0) is_cut[c10::maybe_wrap_dim(dim, self.dim())] = true;
  }
  std::vector<Strategy> strategies;
  for (int64_t dim = 0; dim < self.dim(); ++dim) {
    if (is_cut[dim]) continue;
    strategies.push_back({Placements(call.operands.size(), shard(dim)), Placements(call.outputs.size(), shard(dim))});
  }
  return strategies;
}

std::vector<Strategy> linear_along(const Call& call) {
  return with_terms_of(call, along(call), {ReduceOp::kSum, ReduceOp::kAvg});
}

}  // namespace

void add_reduction_rules(RuleTable& table) {
  table.begin_family("reductions");
  table.add({"aten::sum", "aten::sum.dim_IntList", "aten::sum.IntList_out"}, {.per_axis = sum});
  table.add({"aten::nansum"}, {.per_axis = sum, .outputs = reduction_outputs});
  table.add({"aten::mean", "aten::mean.dim", "aten::mean.out"}, {.per_axis = sum, .kernel = local_mean});
  table.add({"aten::amax", "aten::max"}, {.per_axis = largest, .kernel = local_max, .outputs = reduction_outputs});
  table.add({"aten::amin", "aten::min"}, {.per_axis = smallest, .kernel = local_min, .outputs = reduction_outputs});
  table.add({"aten::any", "aten::any.dim", "aten::any.dims"}, {.per_axis = any});
  table.add({"aten::all", "aten::all.dim", "aten::all.dims"}, {.per_axis = all});
  table.add({"aten::count_nonzero", "aten::count_nonzero.dim_IntList"},
            {.per_axis = [](const Call& call) { return reduction(call, partial()); }, .outputs = reduction_outputs});
  table.add({"aten::linalg_vector_norm"}, {.per_axis = norm, .kernel = local_norm, .numbers_matter = true});
  table.add(
      {"aten::prod", "aten::prod.dim_int", "aten::var.correction", "aten::var_mean.correction", "aten::std.correction",
       "aten::std_mean.correction", "aten::argmax", "aten::argmin", "aten::max.dim", "aten::min.dim",
       "aten::median.dim", "aten::nanmedian.dim", "aten::mode", "aten::logsumexp", "aten::median", "aten::nanmedian"},
      {.per_axis = whole, .outputs = reduction_outputs});
  table.add({"aten::kthvalue"}, {.per_axis = whole});
  table.add({"aten::topk", "aten::sort", "aten::sort.stable", "aten::cummax", "aten::cummin"}, {.per_axis = along});
  table.add({"aten::logcumsumexp", "aten::_logcumsumexp"}, {.per_axis = along, .outputs = elementwise_outputs});
  table.add_with_variants({"aten::cumprod"}, {.per_axis = along});
  table.add_with_variants({"aten::cumsum"}, {.per_axis = linear_along});
  table.add({"aten::flip", "aten::roll"}, {.per_axis = linear_along, .outputs = elementwise_outputs});
}

}  // namespace titan::dtensor
