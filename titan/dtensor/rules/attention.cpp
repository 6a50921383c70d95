// Scaled dot product attention: batch and heads may be sharded. (Sharding the sequence is context parallelism, which
// exchanges keys and values and is not a rule.)
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "titan/dtensor/mesh_state.h"
#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/families.h"
#include "titan/dtensor/rules/strategies.h"

namespace titan::dtensor {
namespace {

// Heads, dimension kHeads of query and key, that share a key head must stay together.
template <int64_t kHeads>
bool groups_of_heads_stay(const Call& call, const std::vector<Placements>& inputs) {
  const int64_t heads = call.operand("query").sizes()[kHeads], kv_heads = call.operand("key").sizes()[kHeads];
  int64_t num_shards = 1;
  for (size_t axis = 0; axis < call.mesh->sizes.size(); ++axis) {
    if (inputs[call.index_of("query")][axis].is_shard(kHeads)) num_shards *= call.mesh->sizes[axis];
  }
  return heads == kv_heads || kv_heads % num_shards == 0;
}

// titan::attention and its backward: [batch, seq, heads, width], the log-sum-exp [batch, heads, seq], and first_key
// [batch, seq].
std::vector<Strategy> own_attention(const Call& call) {
  std::vector<Strategy> strategies;
  for (const int64_t dim : {0, 2}) {
    const auto placement = [&](int64_t num_dims) {
      if (dim == 0 || num_dims == 4) return shard(dim);
      return num_dims == 3 ? shard(1) : replicate();
    };
    Strategy& strategy = strategies.emplace_back();
    for (const Operand& operand : call.operands) strategy.inputs.push_back(placement(operand.dim()));
    for (const Output& output : call.outputs) strategy.outputs.push_back(placement(output.dim()));
  }
  return strategies;
}

// ATen's: query [batch, heads, seq, head_dim]; key and value [batch, kv_heads, kv_seq, head_dim].
// Outputs and operands are sharded by batch or heads where they have it; what is not 4-dimensional, or 3-dimensional
// (the log-sum-exp), is the same on all ranks (random states).
std::vector<Strategy> attention(const Call& call) {
  std::vector<Strategy> strategies;
  const at::IntArrayRef query = call.operand("query").sizes();
  for (int64_t dim = 0; dim < 2; ++dim) {
    Strategy strategy{Placements(call.operands.size()), Placements(call.outputs.size())};
    const auto place = [&](at::IntArrayRef sizes, Placement& placement) {
      if (sizes.size() >= 3 && (sizes[dim] == query[dim] || sizes[dim] == call.operand("key").sizes()[dim])) {
        placement = shard(dim);
      }
    };
    for (size_t i = 0; i < call.operands.size(); ++i) {
      const std::string& name = call.schema.arguments()[call.operands[i].argument].name();
      const bool is_mask = name == "attn_mask" || name == "attn_bias";
      // A mask is broadcast: [batch or 1, heads or 1, seq, kv_seq].
      if (!is_mask || (call.operands[i].dim() == 4 && call.operands[i].sizes()[dim] == query[dim])) {
        place(call.operands[i].sizes(), strategy.inputs[i]);
      }
    }
    for (size_t i = 0; i < call.outputs.size(); ++i) {
      if (call.outputs[i].meta.defined()) place(call.outputs[i].sizes(), strategy.outputs[i]);
    }
    strategies.push_back(std::move(strategy));
  }
  return strategies;
}

// [batch, heads, seq, head_dim] in the memory order of [batch, seq, heads, head_dim], as the kernels make it.
at::Tensor like_result(const at::Tensor& x, int64_t head_dim) {
  return x.new_empty({x.size(0), x.size(2), x.size(1), head_dim}).transpose(1, 2);
}

std::vector<at::Tensor> cpu_outputs(const Call& call) {
  const at::Tensor &query = call.operand("query").meta, &value = call.operand("value").meta;
  const at::ScalarType dtype = query.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return {like_result(query, value.size(3)),
          at::empty({query.size(0), query.size(2), query.size(1)}, query.options().dtype(dtype)).transpose(1, 2)};
}

std::vector<at::Tensor> gradients(const Call& call) {
  std::vector<at::Tensor> outputs;
  for (const char* name : {"query", "key", "value"}) {
    const at::Tensor& x = call.operand(name).meta;
    outputs.push_back(like_result(x, x.size(3)));
  }
  return outputs;
}

// The kernels divide by the number of heads and the like, which are 0 on a rank that has none.
LocalKernel nothing_of_nothing(const Call& call, const Placed& placed) {
  if (c10::multiply_integers(placed.inputs[call.index_of("query")]->local_sizes) > 0) return {};
  std::vector<std::pair<std::vector<int64_t>, at::ScalarType>> results;
  for (const Spec* const spec : placed.outputs) results.emplace_back(spec->local_sizes, spec->dtype);
  return [=, num_arguments = call.schema.arguments().size()](const c10::OperatorHandle&, torch::jit::Stack& stack) {
    const at::TensorOptions options = stack[stack.size() - num_arguments].toTensor().options();
    stack.resize(stack.size() - num_arguments);
    for (const auto& [sizes, dtype] : results) stack.emplace_back(at::zeros(sizes, options.dtype(dtype)));
  };
}

}  // namespace

void add_attention_rules(RuleTable& table) {
  table.begin_family("attention");
  table.add(
      {"aten::_scaled_dot_product_flash_attention_for_cpu"},
      {.per_axis = attention, .fits = groups_of_heads_stay<1>, .kernel = nothing_of_nothing, .outputs = cpu_outputs});
  table.add(
      {"aten::_scaled_dot_product_flash_attention_for_cpu_backward"},
      {.per_axis = attention, .fits = groups_of_heads_stay<1>, .kernel = nothing_of_nothing, .outputs = gradients});
  table.add({"titan::attention", "titan::attention_backward"},
            {.per_axis = own_attention, .fits = groups_of_heads_stay<2>});
}

}  // namespace titan::dtensor
