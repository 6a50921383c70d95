// Operators that take or put elements at given places: embedding, index, gather, scatter and their gradients, and
// those that join tensors (cat, stack). Where the indices are sharded, each rank puts its terms into zeros.
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <c10/core/WrapDimMinimal.h>

#include <algorithm>
#include <numeric>

#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/families.h"
#include "titan/dtensor/rules/local_indices.h"
#include "titan/dtensor/rules/strategies.h"

namespace titan::dtensor {
namespace {

using torch::jit::Stack;

// --- embedding ---

// weight: [vocab, dim]. Sharded by vocab (Megatron-LM, arXiv 1909.08053, section 3), a rank looks up the tokens that
// it has and has zeros for the others.
std::vector<Strategy> embedding(const Call& call) {
  const int64_t num_dims = call.operand("indices").dim();
  std::vector<Strategy> strategies;
  for (int64_t dim = 0; dim < num_dims; ++dim) {
    strategies.push_back(call.strategy({{"indices", shard(dim)}}, {shard(dim)}));
  }
  strategies.push_back(call.strategy({{"weight", shard(1)}}, {shard(num_dims)}));
  strategies.push_back(call.strategy({{"weight", shard(0)}}, {partial()}));
  for (const Placement& term : sums(call)) strategies.push_back(call.strategy({{"weight", term}}, {term}));
  return strategies;
}

std::vector<at::Tensor> looked_up(const Call& call) {
  std::vector<int64_t> sizes = call.operand("indices").sizes().vec();
  sizes.push_back(call.operand("weight").sizes()[1]);
  return {call.operand("weight").meta.new_empty(sizes)};
}

LocalKernel local_embedding(const Call&, const Placed& placed) {
  const Spec& weight = *placed.inputs[0];
  if (weight.local_sizes[0] == weight.sizes[0]) return {};
  return [vocab = weight.segments(0), num_local = weight.local_sizes[0]](const c10::OperatorHandle&, Stack& stack) {
    const auto arguments = stack.end() - 5;
    const at::Tensor table = arguments[0].toTensor(), tokens = arguments[1].toTensor();
    stack.erase(arguments, stack.end());
    if (num_local == 0) {
      std::vector<int64_t> sizes = tokens.sizes().vec();
      sizes.push_back(table.size(1));
      stack.emplace_back(table.new_zeros(sizes));
      return;
    }
    const LocalIndices local = local_indices(tokens, vocab);
    stack.emplace_back(at::embedding(table, local.indices).masked_fill_(local.is_elsewhere.unsqueeze(-1), 0));
  };
}

// The gradient's rows are summed by token.
std::vector<Strategy> embedding_backward(const Call& call) {
  const int64_t num_dims = call.operand("indices").dim();
  std::vector<Strategy> strategies;
  strategies.push_back(call.strategy({{"grad_output", shard(num_dims)}}, {shard(1)}));
  // A frequency is of all tokens.
  for (int64_t dim = 0; dim < num_dims && !call.boolean("scale_grad_by_freq"); ++dim) {
    strategies.push_back(call.strategy({{"grad_output", shard(dim)}, {"indices", shard(dim)}}, {partial()}));
  }
  for (const Placement& term : sums(call)) strategies.push_back(call.strategy({{"grad_output", term}}, {term}));
  return strategies;
}

std::vector<at::Tensor> weight_like(const Call& call) {
  const at::Tensor& grad = call.operand("grad_output").meta;
  return {grad.new_empty({call.integer("num_weights"), grad.size(-1)})};
}

// --- index, index_put ---

// x[indices]: where the indexed dimensions and those of the indices are in the result.
struct IndexedDims {
  std::vector<bool> is_indexed;     // dimension of self
  std::vector<int64_t> kept;        // of self's other dimensions, in order, the result's; by self's dimension, -1
  int64_t first = 0, num_dims = 0;  // the indices' dimensions in the result
  std::vector<int64_t> broadcast;   // their sizes
};

IndexedDims indexed_dims(const Call& call) {
  const Operand& self = call.operand("self");
  IndexedDims dims;
  dims.is_indexed.resize(static_cast<size_t>(self.dim()));
  dims.kept.resize(static_cast<size_t>(self.dim()), -1);
  std::vector<int64_t> places;
  for (const Operand& operand : call.operands) {
    if (operand.argument != *call.schema.argumentIndexWithName("indices")) continue;
    TORCH_CHECK_NOT_IMPLEMENTED(operand.meta.scalar_type() != at::kBool && operand.meta.scalar_type() != at::kByte,
                                "DTensor: ", call.text(),
                                ": a mask's result has a size that the data decides; use where");
    dims.is_indexed[operand.index] = true;
    places.push_back(operand.index);
    const int64_t missing = operand.dim() - static_cast<int64_t>(dims.broadcast.size());
    if (missing > 0) dims.broadcast.insert(dims.broadcast.begin(), missing, 1);
    for (int64_t i = 0; i < operand.dim(); ++i) {
      int64_t& size = dims.broadcast[dims.broadcast.size() - 1 - i];
      if (size == 1) size = operand.sizes()[operand.dim() - 1 - i];
    }
  }
  dims.num_dims = static_cast<int64_t>(dims.broadcast.size());
  // NumPy's rule: neighbours stay where they are, others go to the front.
  const bool together = places.empty() || places.back() - places.front() + 1 == static_cast<int64_t>(places.size());
  dims.first = together && !places.empty() ? places.front() : 0;
  int64_t next = 0;
  for (int64_t dim = 0; dim < self.dim(); ++dim) {
    if (next == dims.first && (together ? dims.is_indexed[dim] : true) && dim >= dims.first) next += dims.num_dims;
    if (dims.is_indexed[dim]) continue;
    if (!together && dim == 0 && next == 0) next = dims.num_dims;
    dims.kept[dim] = next++;
  }
  return dims;
}

// A strategy in which dimension `dim` of the broadcast indices is sharded.
void shard_indices(const Call& call, const IndexedDims& dims, int64_t dim, Strategy& strategy) {
  for (size_t i = 0; i < call.operands.size(); ++i) {
    const Operand& operand = call.operands[i];
    if (operand.argument != *call.schema.argumentIndexWithName("indices")) continue;
    const auto its_dim = broadcast_dim(operand, dims.broadcast, dim);
    strategy.inputs[i] = its_dim.has_value() ? shard(*its_dim) : replicate();
  }
}

std::vector<Strategy> index(const Call& call) {
  const IndexedDims dims = indexed_dims(call);
  std::vector<Strategy> strategies;
  for (size_t dim = 0; dim < dims.kept.size(); ++dim) {
    if (dims.is_indexed[dim]) continue;
    strategies.push_back(call.strategy({{"self", shard(static_cast<int64_t>(dim))}}, {shard(dims.kept[dim])}));
  }
  for (int64_t dim = 0; dim < dims.num_dims; ++dim) {
    strategies.push_back(call.strategy({}, {shard(dims.first + dim)}));
    shard_indices(call, dims, dim, strategies.back());
  }
  for (const Placement& term : call.partials()) strategies.push_back(call.strategy({{"self", term}}, {term}));
  return strategies;
}

std::vector<Strategy> index_put(const Call& call) {
  const IndexedDims dims = indexed_dims(call);
  const Operand& self = call.operand("self");
  const Operand& values = call.operand("values");
  // What x[indices] has, which values are broadcast to.
  std::vector<int64_t> result(static_cast<size_t>(dims.num_dims));
  std::copy(dims.broadcast.begin(), dims.broadcast.end(), result.begin());
  std::vector<int64_t> sizes;
  for (int64_t dim = 0; dim < self.dim(); ++dim) {
    if (!dims.is_indexed[dim]) sizes.push_back(self.sizes()[dim]);
  }
  sizes.insert(sizes.begin() + dims.first, result.begin(), result.end());

  std::vector<Strategy> strategies;
  for (size_t dim = 0; dim < dims.kept.size(); ++dim) {
    if (dims.is_indexed[dim]) continue;
    const auto its_dim = broadcast_dim(values, sizes, dims.kept[dim]);
    strategies.push_back(call.strategy(
        {{"self", shard(static_cast<int64_t>(dim))}, {"values", its_dim.has_value() ? shard(*its_dim) : replicate()}},
        {shard(static_cast<int64_t>(dim))}));
  }
  if (!call.boolean("accumulate")) return strategies;
  // Self is a term, the values are others.
  for (int64_t dim = 0; dim < dims.num_dims; ++dim) {
    const auto its_dim = broadcast_dim(values, sizes, dims.first + dim);
    if (!its_dim.has_value()) continue;
    strategies.push_back(call.strategy({{"self", partial()}, {"values", shard(*its_dim)}}, {partial()}));
    shard_indices(call, dims, dim, strategies.back());
  }
  for (const Placement& term : sums(call)) {
    strategies.push_back(call.strategy({{"self", term}, {"values", term}}, {term}));
  }
  return strategies;
}

// --- gather, scatter and index_* along one dimension ---

bool same_size(const Operand& a, const Operand& b, int64_t dim) { return a.sizes()[dim] == b.sizes()[dim]; }

std::vector<Strategy> gather(const Call& call) {
  const Operand &self = call.operand("self"), &index = call.operand("index");
  std::vector<Strategy> strategies;
  if (self.dim() != index.dim() || self.dim() == 0) return strategies;
  const int64_t along = call.dim("dim", self);
  for (int64_t dim = 0; dim < self.dim(); ++dim) {
    if (dim == along) {
      strategies.push_back(call.strategy({{"index", shard(dim)}}, {shard(dim)}));
    } else if (same_size(self, index, dim)) {
      strategies.push_back(call.strategy({{"self", shard(dim)}, {"index", shard(dim)}}, {shard(dim)}));
    }
  }
  for (const Placement& term : call.partials()) strategies.push_back(call.strategy({{"self", term}}, {term}));
  return strategies;
}

// The dimensions other than `dim`, where self and index (and src) agree.
std::vector<Strategy> scatter(const Call& call) {
  const Operand &self = call.operand("self"), &index = call.operand("index");
  const Operand* const src = call.has_argument("src") ? call.find("src") : nullptr;
  std::vector<Strategy> strategies;
  if (self.dim() != index.dim() || self.dim() == 0) return strategies;
  const int64_t along = call.dim("dim", self);
  for (int64_t dim = 0; dim < self.dim(); ++dim) {
    if (dim == along || !same_size(self, index, dim) || (src != nullptr && !same_size(*src, index, dim))) continue;
    Strategy strategy = call.strategy({{"self", shard(dim)}, {"index", shard(dim)}}, {shard(dim)});
    if (src != nullptr) strategy.inputs[call.index_of("src")] = shard(dim);
    strategies.push_back(std::move(strategy));
  }
  return strategies;
}

std::vector<Strategy> scatter_add(const Call& call) {
  const Operand &self = call.operand("self"), &index = call.operand("index"), &src = call.operand("src");
  std::vector<Strategy> strategies = scatter(call);
  for (int64_t dim = 0; dim < self.dim() && self.dim() == index.dim(); ++dim) {
    if (!same_size(src, index, dim)) continue;
    // Only along `dim` may the index have more rows than self; any of its rows may be another rank's.
    if (dim == call.dim("dim", self)) {
      strategies.push_back(
          call.strategy({{"self", partial()}, {"index", shard(dim)}, {"src", shard(dim)}}, {partial()}));
    }
  }
  for (const Placement& term : sums(call)) {
    strategies.push_back(call.strategy({{"self", term}, {"src", term}}, {term}));
  }
  return strategies;
}

std::vector<Strategy> index_select(const Call& call) {
  const Operand& self = call.operand("self");
  std::vector<Strategy> strategies;
  if (self.dim() == 0) return strategies;
  const int64_t along = call.dim("dim", self);
  for (int64_t dim = 0; dim < self.dim(); ++dim) {
    if (dim != along) strategies.push_back(call.strategy({{"self", shard(dim)}}, {shard(dim)}));
  }
  if (call.operand("index").dim() == 1) strategies.push_back(call.strategy({{"index", shard(0)}}, {shard(along)}));
  for (const Placement& term : call.partials()) strategies.push_back(call.strategy({{"self", term}}, {term}));
  return strategies;
}

std::vector<at::Tensor> selected(const Call& call) {
  const Operand& self = call.operand("self");
  std::vector<int64_t> sizes = self.sizes().vec();
  if (!sizes.empty()) sizes[call.dim("dim", self)] = call.operand("index").meta.numel();
  return {self.meta.new_empty(sizes)};
}

// index_add, index_copy, index_fill: `source` has self's sizes but along `dim`.
std::vector<Strategy> index_write(const Call& call) {
  const Operand& self = call.operand("self");
  const bool has_source = call.has_argument("source") && call.find("source") != nullptr;
  std::vector<Strategy> strategies;
  if (self.dim() == 0) return strategies;
  const int64_t along = call.dim("dim", self);
  for (int64_t dim = 0; dim < self.dim(); ++dim) {
    if (dim == along) continue;
    strategies.push_back(call.strategy({{"self", shard(dim)}}, {shard(dim)}));
    if (has_source) strategies.back().inputs[call.index_of("source")] = shard(dim);
  }
  return strategies;
}

std::vector<Strategy> index_add(const Call& call) {
  std::vector<Strategy> strategies = index_write(call);
  if (call.operand("index").dim() == 1 && call.operand("self").dim() > 0) {
    const int64_t along = call.dim("dim", call.operand("self"));
    strategies.push_back(
        call.strategy({{"self", partial()}, {"index", shard(0)}, {"source", shard(along)}}, {partial()}));
  }
  for (const Placement& term : sums(call)) {
    strategies.push_back(call.strategy({{"self", term}, {"source", term}}, {term}));
  }
  return strategies;
}

// --- the gradients of views: a gradient put into zeros of the view's base ---

// Dimensions of the gradient and, by them, of the result; -1: made whole there.
std::vector<Strategy> put_into_zeros(const Call& call, const std::vector<int64_t>& result_dims) {
  std::vector<Strategy> strategies;
  for (size_t dim = 0; dim < result_dims.size(); ++dim) {
    if (result_dims[dim] < 0) continue;
    strategies.push_back(
        {Placements(call.operands.size(), shard(static_cast<int64_t>(dim))), {shard(result_dims[dim])}});
  }
  for (const Placement& term : sums(call)) strategies.push_back({Placements(call.operands.size(), term), {term}});
  return strategies;
}

std::vector<int64_t> all_dims(int64_t num_dims) {
  std::vector<int64_t> dims(static_cast<size_t>(num_dims));
  std::iota(dims.begin(), dims.end(), 0);
  return dims;
}

std::vector<Strategy> select_backward(const Call& call) {
  const auto num_dims = static_cast<int64_t>(call.integers("input_sizes").size());
  std::vector<int64_t> dims = all_dims(num_dims);
  dims.erase(dims.begin() + c10::maybe_wrap_dim(call.integer("dim"), num_dims));
  return put_into_zeros(call, dims);
}

std::vector<Strategy> slice_backward(const Call& call) {
  const auto num_dims = static_cast<int64_t>(call.integers("input_sizes").size());
  std::vector<int64_t> dims = all_dims(num_dims);
  dims[c10::maybe_wrap_dim(call.integer("dim"), num_dims)] = -1;
  return put_into_zeros(call, dims);
}

std::vector<Strategy> diagonal_backward(const Call& call) {
  const auto num_dims = static_cast<int64_t>(call.integers("input_sizes").size());
  const int64_t first = c10::maybe_wrap_dim(call.integer("dim1"), num_dims);
  const int64_t second = c10::maybe_wrap_dim(call.integer("dim2"), num_dims);
  std::vector<int64_t> dims = all_dims(num_dims);
  std::erase_if(dims, [=](int64_t dim) { return dim == first || dim == second; });
  dims.push_back(-1);
  return put_into_zeros(call, dims);
}

std::vector<Strategy> unfold_backward(const Call& call) {
  const auto num_dims = static_cast<int64_t>(call.integers("input_sizes").size());
  std::vector<int64_t> dims = all_dims(num_dims);
  if (num_dims > 0) dims[c10::maybe_wrap_dim(call.integer("dim"), num_dims)] = -1;
  dims.push_back(-1);
  return put_into_zeros(call, dims);
}

std::vector<at::Tensor> of_input_sizes(const Call& call) {
  return {call.operands.front().meta.new_empty(call.integers("input_sizes"))};
}

void local_input_sizes(const Call& call, const Placed& placed, std::vector<c10::IValue>& arguments) {
  arguments[*call.schema.argumentIndexWithName("input_sizes")] = placed.outputs.front()->local_sizes;
}

// select_scatter, slice_scatter: src is self's view but for `dim`.
std::vector<Strategy> view_scatter(const Call& call) {
  const Operand &self = call.operand("self"), &src = call.operand("src");
  std::vector<Strategy> strategies;
  const int64_t along = call.dim("dim", self);
  for (int64_t dim = 0; dim < self.dim(); ++dim) {
    if (dim == along) continue;
    const int64_t src_dim = dim > along && src.dim() < self.dim() ? dim - 1 : dim;
    strategies.push_back(call.strategy({{"self", shard(dim)}, {"src", shard(src_dim)}}, {shard(dim)}));
  }
  for (const Placement& term : sums(call)) {
    strategies.push_back(call.strategy({{"self", term}, {"src", term}}, {term}));
  }
  return strategies;
}

// --- joining ---

std::vector<Strategy> join(const Call& call, int64_t along, bool adds_dim) {
  std::vector<Strategy> strategies;
  const int64_t num_dims = call.outputs.front().dim() - (adds_dim ? 1 : 0);
  const auto add = [&](const Placement& input, const Placement& output) {
    Strategy strategy{Placements(call.operands.size(), input), {output}};
    for (size_t i = 0; i < call.operands.size(); ++i) {
      // An empty vector goes with anything.
      if (call.operands[i].dim() != num_dims && input.is_shard()) strategy.inputs[i] = replicate();
    }
    strategies.push_back(std::move(strategy));
  };
  for (int64_t dim = 0; dim < num_dims; ++dim) {
    if (adds_dim || dim != along) add(shard(dim), shard(adds_dim && dim >= along ? dim + 1 : dim));
  }
  for (const Placement& term : call.partials()) add(term, term);
  return strategies;
}

std::vector<Strategy> cat(const Call& call) {
  return join(call, c10::maybe_wrap_dim(call.integer("dim"), call.outputs.front().dim()), false);
}
std::vector<Strategy> stack(const Call& call) {
  return join(call, c10::maybe_wrap_dim(call.integer("dim"), call.outputs.front().dim()), true);
}

// The result's dimensions that are repeated or padded need the operand's whole.
std::vector<Strategy> repeat(const Call& call) {
  const std::vector<int64_t> repeats = call.integers("repeats");
  const auto missing = static_cast<int64_t>(repeats.size()) - call.operand("self").dim();
  std::vector<int64_t> dims(repeats.size(), -1);
  for (int64_t dim = missing; dim < static_cast<int64_t>(repeats.size()); ++dim) {
    if (repeats[dim] == 1) dims[dim] = dim - missing;
  }
  return dims_move(call, dims);
}

std::vector<Strategy> pad(const Call& call) {
  const std::vector<int64_t> amounts = call.integers("pad");
  std::vector<int64_t> dims = all_dims(call.operand("self").dim());
  for (size_t i = 0; i < amounts.size(); ++i) {
    if (amounts[i] != 0) dims[dims.size() - 1 - i / 2] = -1;
  }
  std::vector<Strategy> strategies = dims_move(call, dims);
  // Terms of another padding than zero would add up.
  if (call.argument("value").toScalar().toDouble() != 0) {
    std::erase_if(strategies, [](const Strategy& strategy) { return strategy.inputs.front().is_partial(); });
  } else {
    std::erase_if(strategies, [](const Strategy& strategy) {
      const Placement& input = strategy.inputs.front();
      return input.is_partial() && input.reduce_op != ReduceOp::kSum && input.reduce_op != ReduceOp::kAvg;
    });
  }
  return strategies;
}

}  // namespace

void add_indexing_rules(RuleTable& table) {
  table.begin_family("indexing");
  table.add({"aten::embedding"}, {.per_axis = embedding, .kernel = local_embedding, .outputs = looked_up});
  table.add({"aten::embedding_dense_backward"}, {.per_axis = embedding_backward, .outputs = weight_like});
  table.add({"aten::index.Tensor"}, {.per_axis = index});
  table.add({"aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}, {.per_axis = index_put});
  table.add({"aten::gather"}, {.per_axis = gather});
  table.add({"aten::scatter.src", "aten::scatter_.src", "aten::scatter.value", "aten::scatter_.value",
             "aten::scatter.reduce", "aten::scatter_.reduce", "aten::scatter.value_reduce",
             "aten::scatter_.value_reduce", "aten::scatter_reduce.two", "aten::scatter_reduce_.two"},
            {.per_axis = scatter});
  table.add({"aten::scatter_add", "aten::scatter_add_"}, {.per_axis = scatter_add});
  table.add({"aten::index_select"}, {.per_axis = index_select, .outputs = selected});
  table.add({"aten::index_add", "aten::index_add_"}, {.per_axis = index_add});
  table.add({"aten::index_copy", "aten::index_copy_", "aten::index_fill.int_Scalar", "aten::index_fill_.int_Scalar"},
            {.per_axis = index_write});
  table.add({"aten::select_backward"}, {.per_axis = select_backward, .local_arguments = local_input_sizes});
  table.add({"aten::slice_backward"}, {.per_axis = slice_backward, .local_arguments = local_input_sizes});
  table.add({"aten::diagonal_backward"}, {.per_axis = diagonal_backward, .local_arguments = local_input_sizes});
  table.add({"aten::unfold_backward"},
            {.per_axis = unfold_backward, .local_arguments = local_input_sizes, .outputs = of_input_sizes});
  table.add({"aten::select_scatter", "aten::slice_scatter"}, {.per_axis = view_scatter});
  table.add({"aten::cat"}, {.per_axis = cat});
  table.add({"aten::stack"}, {.per_axis = stack});
  table.add({"aten::repeat"}, {.per_axis = repeat});
  table.add({"aten::constant_pad_nd"}, {.per_axis = pad, .numbers_matter = true});
}

}  // namespace titan::dtensor
