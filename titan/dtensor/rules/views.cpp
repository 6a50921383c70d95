// Operators whose result shares the operand's memory and only names its elements otherwise. See reshape.cpp for those
// that join and split dimensions.
#include <c10/core/WrapDimMinimal.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <numeric>

#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/families.h"
#include "titan/dtensor/rules/reshape.h"
#include "titan/dtensor/rules/strategies.h"

namespace titan::dtensor {
namespace {

std::vector<int64_t> identity(int64_t num_dims) {
  std::vector<int64_t> dims(static_cast<size_t>(num_dims));
  std::iota(dims.begin(), dims.end(), 0);
  return dims;
}

// The same dimensions.
std::vector<Strategy> alias(const Call& call) { return dims_move(call, identity(call.operands.front().dim())); }

std::vector<Strategy> transpose(const Call& call) {
  const Operand& self = call.operand("self");
  std::vector<int64_t> dims = identity(self.dim());
  if (!dims.empty()) std::swap(dims[call.dim("dim0", self)], dims[call.dim("dim1", self)]);
  return dims_move(call, dims);
}

std::vector<Strategy> t(const Call& call) {
  std::vector<int64_t> dims = identity(call.operand("self").dim());
  std::reverse(dims.begin(), dims.end());
  return dims_move(call, dims);
}

std::vector<Strategy> permute(const Call& call) {
  std::vector<int64_t> dims = call.integers("dims");
  for (int64_t& dim : dims) dim = c10::maybe_wrap_dim(dim, call.operand("self").dim());
  return dims_move(call, dims);
}

std::vector<Strategy> unsqueeze(const Call& call) {
  const int64_t num_dims = call.operand("self").dim();
  std::vector<int64_t> dims = identity(num_dims);
  dims.insert(dims.begin() + c10::maybe_wrap_dim(call.integer("dim"), num_dims + 1), -1);
  return dims_move(call, dims);
}

// Of the named dimensions, those of size 1 go.
std::vector<int64_t> squeezed_dims(const Call& call) {
  const Operand& self = call.operand("self");
  std::vector<bool> may_go(static_cast<size_t>(self.dim()), !call.has_argument("dim"));
  if (call.has_argument("dim")) {
    for (const int64_t dim : call.integers("dim")) {
      if (self.dim() > 0) may_go[c10::maybe_wrap_dim(dim, self.dim())] = true;
    }
  }
  std::vector<int64_t> gone;
  for (int64_t dim = 0; dim < self.dim(); ++dim) {
    if (may_go[dim] && self.sizes()[dim] == 1) gone.push_back(dim);
  }
  return gone;
}

std::vector<Strategy> squeeze(const Call& call) {
  std::vector<int64_t> dims = identity(call.operand("self").dim());
  const std::vector<int64_t> gone = squeezed_dims(call);
  std::erase_if(dims, [&](int64_t dim) { return std::find(gone.begin(), gone.end(), dim) != gone.end(); });
  return dims_move(call, dims);
}

// A shard may have one row, which is not to go. So the local squeeze gets the dimensions by name where it can.
LocalKernel local_squeeze(const Call& call, const Placed& placed) {
  if (call.schema.name().back() == '_') {
    TORCH_CHECK_NOT_IMPLEMENTED(call.has_argument("dim") || placed.inputs[0]->is_replicated, "DTensor: ", call.text(),
                                ": name the dimensions to squeeze");
    return {};
  }
  return local_reshape(call, placed);
}

std::vector<Strategy> expand(const Call& call) {
  const Operand& self = call.operand("self");
  const at::IntArrayRef sizes = call.outputs.front().sizes();
  std::vector<int64_t> dims(sizes.size(), -1);
  for (int64_t dim = 0; dim < static_cast<int64_t>(sizes.size()); ++dim) {
    dims[dim] = broadcast_dim(self, sizes, dim).value_or(-1);
  }
  return dims_move(call, dims);
}

void local_size(const Call& call, const Placed& placed, std::vector<c10::IValue>& arguments) {
  arguments[*call.schema.argumentIndexWithName("size")] = placed.outputs.front()->local_sizes;
}

std::vector<Strategy> select(const Call& call) {
  const Operand& self = call.operand("self");
  std::vector<int64_t> dims = identity(self.dim());
  dims.erase(dims.begin() + call.dim("dim", self));
  return dims_move(call, dims);
}

// All dimensions but `dim`, which is cut.
std::vector<Strategy> cut(const Call& call) {
  const Operand& self = call.operand("self");
  std::vector<int64_t> dims = identity(self.dim());
  const int64_t dim = call.dim("dim", self);
  const bool is_whole = call.outputs.size() == 1 && call.outputs.front().sizes() == self.sizes();
  if (!is_whole) dims[dim] = -1;
  return dims_move(call, dims);
}

// A cut that takes everything takes all of a shard.
void local_end(const Call& call, const Placed& placed, std::vector<c10::IValue>& arguments) {
  const Operand& self = call.operand("self");
  const int64_t dim = call.dim("dim", self);
  if (call.outputs.front().sizes() != self.sizes()) return;
  arguments[*call.schema.argumentIndexWithName("end")] = placed.inputs.front()->local_sizes[dim];
}

void local_split_sizes(const Call& call, const Placed& placed, std::vector<c10::IValue>& arguments) {
  if (call.outputs.size() != 1) return;
  const int64_t dim = call.dim("dim", call.operand("self"));
  arguments[*call.schema.argumentIndexWithName("split_sizes")] =
      std::vector<int64_t>{placed.outputs.front()->local_sizes[dim]};
}

std::vector<Strategy> diagonal(const Call& call) {
  const Operand& self = call.operand("self");
  const int64_t first = call.dim("dim1", self), second = call.dim("dim2", self);
  std::vector<int64_t> dims = identity(self.dim());
  std::erase_if(dims, [=](int64_t dim) { return dim == first || dim == second; });
  dims.push_back(-1);
  return dims_move(call, dims);
}

std::vector<Strategy> unfold(const Call& call) {
  const Operand& self = call.operand("self");
  std::vector<int64_t> dims = identity(self.dim());
  if (self.dim() > 0) dims[c10::maybe_wrap_dim(call.integer("dimension"), self.dim())] = -1;
  dims.push_back(-1);
  return dims_move(call, dims);
}

// Complex numbers and pairs: the last dimension of the pairs stays whole.
std::vector<Strategy> view_as_real(const Call& call) {
  std::vector<int64_t> dims = identity(call.operand("self").dim());
  dims.push_back(-1);
  std::vector<Strategy> strategies = dims_move(call, dims);
  std::erase_if(strategies, [](const Strategy& strategy) {
    return strategy.inputs.front().is_partial() && strategy.inputs.front().reduce_op != ReduceOp::kSum;
  });
  return strategies;
}

std::vector<Strategy> view_as_complex(const Call& call) {
  std::vector<Strategy> strategies = dims_move(call, identity(call.operand("self").dim() - 1));
  std::erase_if(strategies, [](const Strategy& strategy) {
    return strategy.inputs.front().is_partial() && strategy.inputs.front().reduce_op != ReduceOp::kSum;
  });
  return strategies;
}

// A number of another type at each place, of the same size.
std::vector<Strategy> reinterpret(const Call& call) {
  std::vector<Strategy> strategies;
  for (int64_t dim = 0; dim + 1 < call.operands.front().dim(); ++dim) {
    strategies.push_back(call.strategy({{"self", shard(dim)}}, {shard(dim)}));
  }
  return strategies;
}

Sharding as_strided(const Call& call) {
  TORCH_CHECK_NOT_IMPLEMENTED(call.operand("self").spec->is_replicated, "DTensor: ", call.text(),
                              ": strides of the whole mean nothing in a part; use a view operator, or redistribute to "
                              "replicate");
  return {{call.operand("self").spec->placements}, {call.operand("self").spec->placements}, {}};
}

}  // namespace

void add_view_rules(RuleTable& table) {
  table.begin_family("views");
  table.add({"aten::alias", "aten::detach", "aten::detach_", "aten::lift_fresh", "aten::_conj", "aten::_neg_view"},
            {.per_axis = alias});
  table.add({"aten::transpose.int", "aten::transpose_"}, {.per_axis = transpose});
  table.add_with_variants({"aten::t"}, {.per_axis = t});
  table.add({"aten::permute"}, {.per_axis = permute});
  table.add_with_variants({"aten::unsqueeze"}, {.per_axis = unsqueeze});
  table.add_with_variants({"aten::squeeze", "aten::squeeze.dim", "aten::squeeze.dims"},
                          {.per_axis = squeeze, .kernel = local_squeeze});
  table.add({"aten::expand"}, {.per_axis = expand, .local_arguments = local_size});
  table.add({"aten::select.int"}, {.per_axis = select});
  table.add({"aten::slice.Tensor"}, {.per_axis = cut, .local_arguments = local_end});
  table.add({"aten::split.Tensor", "aten::unbind.int"}, {.per_axis = [](const Call& call) {
              return call.schema.name() == "aten::unbind" ? select(call) : cut(call);
            }});
  table.add({"aten::split_with_sizes"}, {.per_axis = cut, .local_arguments = local_split_sizes});
  table.add({"aten::diagonal"}, {.per_axis = diagonal});
  table.add({"aten::unfold"}, {.per_axis = unfold});
  table.add({"aten::view_as_real"}, {.per_axis = view_as_real});
  table.add({"aten::view_as_complex"}, {.per_axis = view_as_complex});
  table.add({"aten::view.dtype"}, {.per_axis = reinterpret});
  table.add({"aten::view", "aten::_unsafe_view", "aten::_reshape_alias"},
            {.whole_mesh = reshape, .kernel = local_reshape});
  table.add({"aten::as_strided"}, {.whole_mesh = as_strided});
}

}  // namespace titan::dtensor
