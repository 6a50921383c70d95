#include "titan/models/llama3/config.h"

#include <fmt/format.h>

#include <array>

#include "titan/config/job_config.h"
#include "titan/config/problems.h"
#include "titan/models/model_args.h"

namespace titan::models::llama3 {
namespace {

struct Flavor {
  std::string_view name;
  Config config;
};

Config with_masked_documents(Config config) {
  config.mask_documents = true;
  return config;
}

// Sizes: TorchTitan 0.2.2's for debugmodel, 8B, 70B and 405B; the model cards' for 1B and 3B (Llama 3.2). TorchTitan's
// *_flex and *_varlen name two ways to compute one thing, which here the kernels choose.
std::array<Flavor, 11> make_flavors() {
  const nn::RopeScaling llama32 = {.scaling_factor = 32.0};
  const Config debug = {.dim = 256, .n_layers = 6, .n_heads = 16, .vocab_size = 2048, .rope_theta = 500000};
  const Config of_8b = {.dim = 4096,
                        .n_layers = 32,
                        .n_heads = 32,
                        .n_kv_heads = 8,
                        .multiple_of = 1024,
                        .ffn_dim_multiplier = 1.3,
                        .rope_theta = 500000};
  return {{
      {"debugmodel", debug},
      {"debugmodel_flex_attn", with_masked_documents(debug)},
      {"debugmodel_varlen_attn", with_masked_documents(debug)},
      {"1B",
       {.dim = 2048,
        .n_layers = 16,
        .n_heads = 32,
        .n_kv_heads = 8,
        .multiple_of = 256,
        .ffn_dim_multiplier = 1.5,
        .rope_theta = 500000,
        .rope_scaling = llama32,
        .tie_embeddings = true}},
      {"1B_untied",
       {.dim = 2048,
        .n_layers = 16,
        .n_heads = 32,
        .n_kv_heads = 8,
        .multiple_of = 256,
        .ffn_dim_multiplier = 1.5,
        .rope_theta = 500000}},
      {"3B",
       {.dim = 3072,
        .n_layers = 28,
        .n_heads = 24,
        .n_kv_heads = 8,
        .multiple_of = 256,
        .ffn_dim_multiplier = 1.0,
        .rope_theta = 500000,
        .rope_scaling = llama32,
        .tie_embeddings = true}},
      {"8B", of_8b},
      {"8B_flex", with_masked_documents(of_8b)},
      {"8B_varlen", with_masked_documents(of_8b)},
      {"70B",
       {.dim = 8192,
        .n_layers = 80,
        .n_heads = 64,
        .n_kv_heads = 8,
        .multiple_of = 4096,
        .ffn_dim_multiplier = 1.3,
        .rope_theta = 500000}},
      {"405B",
       {.dim = 16384,
        .n_layers = 126,
        .n_heads = 128,
        .n_kv_heads = 8,
        .multiple_of = 4096,
        .ffn_dim_multiplier = 1.2,
        .rope_theta = 500000}},
  }};
}

}  // namespace

int64_t Config::ffn_hidden_dim() const {
  int64_t hidden = 2 * (4 * dim) / 3;
  if (ffn_dim_multiplier.has_value()) hidden = static_cast<int64_t>(*ffn_dim_multiplier * static_cast<double>(hidden));
  return multiple_of * ((hidden + multiple_of - 1) / multiple_of);
}

DecoderSizes sizes_of(const Config& config) {
  return {.dim = config.dim,
          .n_layers = config.n_layers,
          .n_heads = config.n_heads,
          .n_kv_heads = config.num_kv_heads(),
          .head_dim = config.head_dim(),
          .ffn_hidden_dim = config.ffn_hidden_dim(),
          .vocab_size = config.vocab_size,
          .norm_eps = config.norm_eps,
          .rope_theta = config.rope_theta,
          .rope_scaling = config.rope_scaling,
          .attention_window = config.sliding_window,
          .mask_documents = config.mask_documents,
          .depth_init = config.depth_init,
          .tie_embeddings = config.tie_embeddings};
}

std::vector<std::string> flavors() {
  std::vector<std::string> names;
  for (const Flavor& flavor : make_flavors()) names.emplace_back(flavor.name);
  return names;
}

std::optional<Config> config_of(std::string_view name) {
  for (const Flavor& flavor : make_flavors()) {
    if (flavor.name == name) return flavor.config;
  }
  return std::nullopt;
}

Config with_args(Config config, const config::ModelArgs& args) {
  take(config.dim, args.dim);
  take(config.n_layers, args.n_layers);
  take(config.n_heads, args.n_heads);
  take(config.n_kv_heads, args.n_kv_heads);
  take(config.vocab_size, args.vocab_size);
  take(config.multiple_of, args.multiple_of);
  take(config.ffn_dim_multiplier, args.ffn_dim_multiplier);
  take(config.norm_eps, args.norm_eps);
  take(config.rope_theta, args.rope_theta);
  take(config.rope_scaling.scaling_factor, args.rope_scaling_args.scaling_factor);
  take(config.rope_scaling.low_freq_factor, args.rope_scaling_args.low_freq_factor);
  take(config.rope_scaling.high_freq_factor, args.rope_scaling_args.high_freq_factor);
  take(config.rope_scaling.original_max_position_embeddings, args.rope_scaling_args.original_max_position_embeddings);
  take(config.max_seq_len, args.max_seq_len);
  take(config.depth_init, args.depth_init);
  take(config.tie_embeddings, args.enable_weight_tying);
  take(config.sliding_window, args.sliding_window);
  if (args.attn_mask_type.has_value()) config.mask_documents = *args.attn_mask_type == "block_causal";
  return config;
}

std::vector<std::string_view> known_args() {
  return {"dim",
          "n_layers",
          "n_heads",
          "n_kv_heads",
          "vocab_size",
          "multiple_of",
          "ffn_dim_multiplier",
          "norm_eps",
          "rope_theta",
          "rope_scaling_args.scaling_factor",
          "rope_scaling_args.low_freq_factor",
          "rope_scaling_args.high_freq_factor",
          "rope_scaling_args.original_max_position_embeddings",
          "max_seq_len",
          "depth_init",
          "enable_weight_tying",
          "attn_mask_type",
          "sliding_window"};
}

void check(const Config& config, config::Problems& problems) {
  const auto positive = [&](std::string_view key, int64_t value) {
    if (value < 1) problems.add(fmt::format("model.args.{}: must be at least 1, got {}", key, value));
    return value >= 1;
  };
  positive("max_seq_len", config.max_seq_len);
  const bool has_head_dim = positive("n_heads", config.n_heads),
             has_hidden_dim = positive("multiple_of", config.multiple_of);
  if (!has_head_dim || !has_hidden_dim) return;

  check(sizes_of(config), problems);
  if (config.dim >= 1 && config.dim % config.n_heads != 0) {
    problems.add(fmt::format("model.args.n_heads: must divide model.args.dim ({}), got {}; use a divisor of {}",
                             config.dim, config.n_heads, config.dim));
  } else if (config.head_dim() % 2 != 0) {
    problems.add(
        fmt::format("model.args.n_heads: dim / n_heads must be even, rotary embedding turns pairs; got {} / {}",
                    config.dim, config.n_heads));
  }
  if (config.dim >= 1 && config.ffn_hidden_dim() < 1) {
    problems.add(fmt::format("model.args.ffn_dim_multiplier: leaves no hidden dimension, got {}",
                             config.ffn_dim_multiplier.value_or(1.0)));
  }
  const nn::RopeScaling& scaling = config.rope_scaling;
  if (!(scaling.scaling_factor > 0)) {
    problems.add(
        fmt::format("model.args.rope_scaling_args.scaling_factor: must be above 0, got {}", scaling.scaling_factor));
  }
  if (!(scaling.high_freq_factor > scaling.low_freq_factor) || !(scaling.low_freq_factor > 0)) {
    problems.add(fmt::format(
        "model.args.rope_scaling_args.high_freq_factor: must be above low_freq_factor ({}), both above 0, got {}",
        scaling.low_freq_factor, scaling.high_freq_factor));
  }
  if (scaling.original_max_position_embeddings < 1) {
    problems.add(
        fmt::format("model.args.rope_scaling_args.original_max_position_embeddings: must be at least 1, got {}",
                    scaling.original_max_position_embeddings));
  }
}

}  // namespace titan::models::llama3
