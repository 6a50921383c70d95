#include "titan/profiling/flop_formulas.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/function_schema.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <string>

namespace titan::profiling {
namespace {

constexpr FlopFormula product(std::string_view name, std::string_view left, std::string_view right) {
  return {.operator_name = name, .left = left, .right = right};
}
constexpr FlopFormula attention(std::string_view name) {
  return {.operator_name = name, .num_query_key_products = 1, .num_value_products = 1};
}
constexpr FlopFormula attention_backward(std::string_view name) {
  return {.operator_name = name, .num_query_key_products = 3, .num_value_products = 2};
}

constexpr FlopFormula own(FlopFormula formula) {
  formula.is_own = true;
  return formula;
}

constexpr FlopFormula kFormulas[] = {
    product("aten::mm", "self", "mat2"),
    product("aten::addmm", "mat1", "mat2"),
    product("aten::bmm", "self", "mat2"),
    product("aten::baddbmm", "batch1", "batch2"),
    product("aten::_scaled_mm", "self", "mat2"),
    product("aten::_scaled_mm_v2", "self", "mat2"),
    attention("aten::_scaled_dot_product_flash_attention"),
    attention("aten::_scaled_dot_product_flash_attention_for_cpu"),
    attention("aten::_scaled_dot_product_efficient_attention"),
    attention("aten::_scaled_dot_product_cudnn_attention"),
    attention_backward("aten::_scaled_dot_product_flash_attention_backward"),
    attention_backward("aten::_scaled_dot_product_flash_attention_for_cpu_backward"),
    attention_backward("aten::_scaled_dot_product_efficient_attention_backward"),
    attention_backward("aten::_scaled_dot_product_cudnn_attention_backward"),
    own(attention("titan::attention")),
    own(attention_backward("titan::attention_backward")),
};

const c10::IValue& input(const c10::FunctionSchema& schema, c10::ArrayRef<c10::IValue> inputs, std::string_view name) {
  const auto index = schema.argumentIndexWithName(name);
  TORCH_INTERNAL_ASSERT(index.has_value() && static_cast<size_t>(*index) < inputs.size(), schema.name(),
                        " was called without ", name);
  return inputs[static_cast<size_t>(*index)];
}

}  // namespace

double FlopFormula::flops(const c10::FunctionSchema& schema, c10::ArrayRef<c10::IValue> inputs) const {
  const auto tensor = [&](std::string_view name) -> const at::Tensor& {
    return input(schema, inputs, name).toTensor();
  };
  if (!is_attention()) {
    return 2.0 * static_cast<double>(tensor(left).numel()) * static_cast<double>(tensor(right).size(-1));
  }
  // Key and value may have fewer heads, shared by several of the query's.
  const at::Tensor &query = tensor("query"), &key = tensor("key");
  const bool is_causal = input(schema, inputs, "is_causal").toBool();
  double pairs = 0;  // summed over batch and heads
  if (is_own) {
    const c10::IValue& first_key = input(schema, inputs, "first_key");
    pairs = static_cast<double>(query.size(2)) *
            num_attended_pairs(query.size(0), query.size(1), key.size(1), is_causal,
                               input(schema, inputs, "query_offset").toInt(), input(schema, inputs, "window").toInt(),
                               first_key.isTensor() ? first_key.toTensor() : at::Tensor());
  } else {
    pairs = static_cast<double>(query.size(0) * query.size(1)) *
            num_attended_pairs(query.size(-2), key.size(-2), is_causal);
  }
  const auto width =
      static_cast<double>(num_query_key_products * query.size(-1) + num_value_products * tensor("value").size(-1));
  return 2.0 * pairs * width;
}

const FlopFormula* find_flop_formula(std::string_view operator_name) {
  const auto* const found = std::find_if(std::begin(kFormulas), std::end(kFormulas), [&](const FlopFormula& formula) {
    return formula.operator_name == operator_name;
  });
  return found == std::end(kFormulas) ? nullptr : found;
}

double num_attended_pairs(int64_t query_len, int64_t key_len, bool causal) {
  const auto queries = static_cast<double>(query_len), keys = static_cast<double>(key_len);
  if (!causal) return queries * keys;
  // Query i meets min(i + 1, keys) of them: a triangle, and below it, if there are more queries than keys, whole rows.
  const double rising = std::min(queries, keys);
  return rising * (rising + 1) / 2 + (queries - rising) * keys;
}

double num_attended_pairs(int64_t batch, int64_t query_len, int64_t key_len, bool causal, int64_t query_offset,
                          int64_t window, const at::Tensor& first_key) {
  const at::Tensor firsts = first_key.defined() ? first_key.cpu().contiguous() : at::Tensor();
  const int64_t* const first_of = first_key.defined() ? firsts.const_data_ptr<int64_t>() : nullptr;
  double pairs = 0;
  for (int64_t row = 0; row < batch; ++row) {
    for (int64_t i = 0; i < query_len; ++i) {
      const int64_t end = causal ? std::clamp<int64_t>(query_offset + i + 1, 0, key_len) : key_len;
      int64_t first = window > 0 ? std::max<int64_t>(query_offset + i + 1 - window, 0) : 0;
      if (first_of != nullptr) first = std::max(first, first_of[row * query_len + i]);
      pairs += static_cast<double>(std::max<int64_t>(end - first, 0));
    }
  }
  return pairs;
}

}  // namespace titan::profiling
