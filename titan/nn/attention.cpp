#include "titan/nn/attention.h"

#include <ATen/ops/scaled_dot_product_attention.h>

namespace titan::nn {
namespace {

std::shared_ptr<RMSNorm> make_head_norm(int64_t head_dim, std::optional<double> eps, at::ScalarType dtype) {
  return eps.has_value() ? std::make_shared<RMSNorm>(head_dim, *eps, dtype) : nullptr;
}

// Tensors as in kernels::attention.
at::Tensor flash_attention_of_aten(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const bool grouped = q.size(2) != k.size(2);
  const at::Tensor attended = at::scaled_dot_product_attention(
      q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), /*attn_mask=*/{}, /*dropout_p=*/0.0,
      /*is_causal=*/true, /*scale=*/std::nullopt, /*enable_gqa=*/grouped);  // [batch, heads, seq, head_dim]
  return attended.transpose(1, 2);
}

at::Tensor attention_of_device(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const kernels::AttentionMask& mask) {
  const bool is_plain = mask.window == 0 && !mask.first_key.defined();
  return q.is_cuda() && is_plain ? flash_attention_of_aten(q, k, v) : kernels::attention(q, k, v, mask);
}

}  // namespace

Attention::Attention(const AttentionSizes& sizes, at::ScalarType dtype, const AttentionOptions& options)
    : wq(this, "wq", std::make_shared<Linear>(sizes.dim, sizes.n_heads * sizes.head_dim, dtype)),
      wk(this, "wk", std::make_shared<Linear>(sizes.dim, sizes.n_kv_heads * sizes.head_dim, dtype)),
      wv(this, "wv", std::make_shared<Linear>(sizes.dim, sizes.n_kv_heads * sizes.head_dim, dtype)),
      wo(this, "wo", std::make_shared<Linear>(sizes.n_heads * sizes.head_dim, sizes.dim, dtype)),
      q_norm(this, "q_norm", make_head_norm(sizes.head_dim, options.qk_norm_eps, dtype)),
      k_norm(this, "k_norm", make_head_norm(sizes.head_dim, options.qk_norm_eps, dtype)),
      head_dim_(sizes.head_dim),
      rotary_pairs_(options.rotary_pairs),
      window_(options.window),
      attend_(attention_of_device) {}

at::Tensor Attention::forward(const at::Tensor& x, const at::Tensor& freqs_cis, const Documents& documents) {
  const int64_t batch = x.size(0), seq = x.size(1);
  at::Tensor q = wq(x).view({batch, seq, -1, head_dim_});
  at::Tensor k = wk(x).view({batch, seq, -1, head_dim_});
  at::Tensor v = wv(x).view({batch, seq, -1, head_dim_});
  if (q_norm) q = q_norm(q);
  if (k_norm) k = k_norm(k);
  std::tie(q, k) = apply_rotary_emb(q, k, freqs_cis, rotary_pairs_);

  const at::Tensor attended = attend_(
      q, k, v,
      {.is_causal = true, .window = window_, .first_key = documents.first_key, .segments = documents.segments()});
  return wo(attended.reshape({batch, seq, -1}));
}

}  // namespace titan::nn
