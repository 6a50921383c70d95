#include "titan/models/decoder_sizes.h"

#include <fmt/format.h>

#include "titan/config/problems.h"

namespace titan::models {

void check(const DecoderSizes& sizes, config::Problems& problems) {
  const auto positive = [&](std::string_view key, int64_t value) {
    if (value < 1) problems.add(fmt::format("model.args.{}: must be at least 1, got {}", key, value));
  };
  positive("dim", sizes.dim);
  positive("n_layers", sizes.n_layers);
  positive("n_heads", sizes.n_heads);
  positive("n_kv_heads", sizes.n_kv_heads);
  positive("vocab_size", sizes.vocab_size);
  if (sizes.n_heads >= 1 && sizes.n_kv_heads >= 1 && sizes.n_heads % sizes.n_kv_heads != 0) {
    problems.add(
        fmt::format("model.args.n_kv_heads: must divide n_heads ({}), got {}", sizes.n_heads, sizes.n_kv_heads));
  }
  if (!(sizes.norm_eps > 0)) {
    problems.add(fmt::format("model.args.norm_eps: must be above 0, got {}", sizes.norm_eps));
  }
  if (!(sizes.rope_theta > 0)) {
    problems.add(fmt::format("model.args.rope_theta: must be above 0, got {}", sizes.rope_theta));
  }
}

std::string describe(const DecoderSizes& sizes) {
  const bool own_head_dim = sizes.n_heads * sizes.head_dim != sizes.dim;
  return fmt::format(
      "dim {}, {} layers, {} heads{}, {} KV heads, FFN {}, vocabulary {}, rope_theta {}, {} embedding and "
      "output",
      sizes.dim, sizes.n_layers, sizes.n_heads, own_head_dim ? fmt::format(" of {}", sizes.head_dim) : "",
      sizes.n_kv_heads, sizes.ffn_hidden_dim, sizes.vocab_size, sizes.rope_theta,
      sizes.tie_embeddings ? "tied" : "untied");
}

}  // namespace titan::models
