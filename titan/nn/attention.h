// Causal grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245) with rotary positions: n_kv_heads key and
// value heads, each serving n_heads / n_kv_heads query heads. Some models normalise each query and key head first
// (Henry et al. 2020, arXiv 2010.04245), which bounds the scores.
#pragma once

#include <functional>
#include <optional>

#include "titan/kernels/attention.h"
#include "titan/nn/linear.h"
#include "titan/nn/module.h"
#include "titan/nn/rms_norm.h"
#include "titan/nn/rotary.h"
#include "titan/nn/token_places.h"

namespace titan::nn {

struct AttentionSizes {
  int64_t dim;
  int64_t n_heads;
  int64_t n_kv_heads;
  int64_t head_dim;
};

struct AttentionOptions {
  RotaryPairs rotary_pairs = RotaryPairs::kNeighbours;
  std::optional<double> qk_norm_eps;  // set: q_norm and k_norm are there, with this epsilon
  int64_t window = 0;                 // tokens up to its own that each attends to (sliding window); 0: all
};

// What computes softmax attention: of the tensors and the mask of kernels::attention, its result.
using AttentionFunction = std::function<at::Tensor(const at::Tensor& query, const at::Tensor& key,
                                                   const at::Tensor& value, const kernels::AttentionMask& mask)>;

class Attention : public Callable<Attention> {
 public:
  Attention(const AttentionSizes& sizes, at::ScalarType dtype, const AttentionOptions& options = {});

  // x: [batch, seq, dim]; freqs_cis: [at least seq, head_dim / 2] or [batch, seq, head_dim / 2] complex64
  // -> [batch, seq, dim]
  at::Tensor forward(const at::Tensor& x, const at::Tensor& freqs_cis, const Documents& documents = {});

  // Puts another function in the place of this device's own, one for which a query's position need not be its index
  // among the keys it is given (context parallelism).
  void set_attention_function(AttentionFunction function) { attend_ = std::move(function); }

  Child<Linear> wq;  // dim -> n_heads * head_dim
  Child<Linear> wk;  // dim -> n_kv_heads * head_dim
  Child<Linear> wv;  // dim -> n_kv_heads * head_dim
  Child<Linear> wo;  // n_heads * head_dim -> dim
  // Over head_dim, one weight for all heads; or absent.
  Child<RMSNorm> q_norm;
  Child<RMSNorm> k_norm;

 private:
  int64_t head_dim_;  // the numbers of heads come from the tensors: tensor parallelism changes them
  RotaryPairs rotary_pairs_;
  int64_t window_;
  AttentionFunction attend_;
};

}  // namespace titan::nn
