// What a matrix product or an attention costs in floating-point operations, a multiply-add counting as two: the one
// table of formulas, by operator. It counts what is executed, so recomputation counts again; the FLOPs that a model
// needs are models::LanguageModel::flops_per_token. Other operators move memory and count as nothing.
#pragma once

#include <ATen/core/ivalue.h>

#include <string_view>

namespace at {
class Tensor;
}
namespace c10 {
struct FunctionSchema;
}

namespace titan::profiling {

struct FlopFormula {
  std::string_view operator_name;  // "aten::mm", with all its overloads
  // Both operands of a product by their names in the schema, [..., m, k] and [..., k, n]; empty for an attention.
  std::string_view left, right;
  // Attention: products of width head_dim of query and key, and of value. Forward (Dao et al. 2022, arXiv 2205.14135,
  // algorithm 1): S = Q K^T and O = P V. Backward (algorithm 4): S again, dQ = dS K, dK = dS^T Q; dV = P^T dO,
  // dP = dO V^T.
  int num_query_key_products = 0, num_value_products = 0;
  // [batch, seq, heads, head_dim] instead of [batch, heads, seq, head_dim], and a mask by titan::attention's arguments.
  bool is_own = false;

  bool is_attention() const { return left.empty(); }
  // Of one call with these `inputs`, in the order of `schema`.
  double flops(const c10::FunctionSchema& schema, c10::ArrayRef<c10::IValue> inputs) const;
};

// Null for an operator that counts as nothing. `operator_name`: "aten::mm".
const FlopFormula* find_flop_formula(std::string_view operator_name);

// How many pairs of a query and a key meet: all of them, or those up to the query's own position, the first query
// meeting the first key.
double num_attended_pairs(int64_t query_len, int64_t key_len, bool causal);

// The same for the mask of kernels::attention, summed over the batch. first_key: a tensor [batch, query_len] int64, or
// undefined; it is read, so on a GPU this waits.
double num_attended_pairs(int64_t batch, int64_t query_len, int64_t key_len, bool causal, int64_t query_offset,
                          int64_t window, const at::Tensor& first_key);

}  // namespace titan::profiling
