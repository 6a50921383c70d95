#include "titan/models/qwen3/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "titan/config/job_config.h"
#include "titan/config/problems.h"
#include "titan/models/model_args.h"

namespace titan::models::qwen3 {
namespace {

struct Flavor {
  std::string_view name;
  Config config;
};

// What all flavours share: heads of 128, grouped 8 at least, normalised; halves of a head are turned against each
// other.
constexpr DecoderSizes kFamily = {.n_kv_heads = 8,
                                  .head_dim = 128,
                                  .vocab_size = 151936,
                                  .norm_eps = 1e-6,
                                  .rope_theta = 1000000,
                                  .rotary_pairs = nn::RotaryPairs::kHalves,
                                  .qk_norm = true};

constexpr DecoderSizes sized(int64_t dim, int64_t n_layers, int64_t n_heads, int64_t ffn_hidden_dim, bool tied) {
  DecoderSizes sizes = kFamily;
  sizes.dim = dim;
  sizes.n_layers = n_layers;
  sizes.n_heads = n_heads;
  sizes.ffn_hidden_dim = ffn_hidden_dim;
  sizes.tie_embeddings = tied;
  return sizes;
}

constexpr DecoderSizes debug_sizes() {
  DecoderSizes sizes = sized(256, 8, 16, 3072, true);
  sizes.vocab_size = 2048;
  return sizes;
}

// TorchTitan 0.2.2's sizes, which are the model cards'; 40960 positions are the cards' too.
constexpr std::array kFlavors = {
    Flavor{"debugmodel", {.sizes = debug_sizes(), .max_seq_len = 4096}},
    Flavor{"0.6B", {.sizes = sized(1024, 28, 16, 3072, true)}},
    Flavor{"1.7B", {.sizes = sized(2048, 28, 16, 6144, true)}},
    Flavor{"4B", {.sizes = sized(2560, 36, 32, 9728, true)}},
    Flavor{"8B", {.sizes = sized(4096, 36, 32, 12288, false)}},
    Flavor{"14B", {.sizes = sized(5120, 40, 40, 17408, false)}},
    Flavor{"32B", {.sizes = sized(5120, 64, 64, 25600, false)}},
};

constexpr std::array<std::string_view, 3> kMixturesOfExperts = {"debugmodel_moe", "30B-A3B", "235B-A22B"};

}  // namespace

std::vector<std::string> flavors() {
  std::vector<std::string> names;
  for (const Flavor& flavor : kFlavors) names.emplace_back(flavor.name);
  return names;
}

std::optional<Config> config_of(std::string_view name) {
  for (const Flavor& flavor : kFlavors) {
    if (flavor.name == name) return flavor.config;
  }
  return std::nullopt;
}

bool is_mixture_of_experts(std::string_view flavor) {
  return std::find(kMixturesOfExperts.begin(), kMixturesOfExperts.end(), flavor) != kMixturesOfExperts.end();
}

Config with_args(Config config, const config::ModelArgs& args) {
  DecoderSizes& sizes = config.sizes;
  take(sizes.dim, args.dim);
  take(sizes.n_layers, args.n_layers);
  take(sizes.n_heads, args.n_heads);
  take(sizes.n_kv_heads, args.n_kv_heads);
  take(sizes.head_dim, args.head_dim);
  take(sizes.ffn_hidden_dim, args.hidden_dim);
  take(sizes.vocab_size, args.vocab_size);
  take(sizes.norm_eps, args.norm_eps);
  take(sizes.rope_theta, args.rope_theta);
  take(sizes.depth_init, args.depth_init);
  take(sizes.tie_embeddings, args.enable_weight_tying);
  take(config.max_seq_len, args.max_seq_len);
  take(sizes.attention_window, args.sliding_window);
  if (args.attn_mask_type.has_value()) sizes.mask_documents = *args.attn_mask_type == "block_causal";
  return config;
}

std::vector<std::string_view> known_args() {
  return {"dim",
          "n_layers",
          "n_heads",
          "n_kv_heads",
          "head_dim",
          "hidden_dim",
          "vocab_size",
          "norm_eps",
          "rope_theta",
          "max_seq_len",
          "depth_init",
          "enable_weight_tying",
          "attn_mask_type",
          "sliding_window"};
}

void check(const Config& config, config::Problems& problems) {
  models::check(config.sizes, problems);
  if (config.max_seq_len < 1) {
    problems.add(fmt::format("model.args.max_seq_len: must be at least 1, got {}", config.max_seq_len));
  }
  if (config.sizes.ffn_hidden_dim < 1) {
    problems.add(fmt::format("model.args.hidden_dim: must be at least 1, got {}", config.sizes.ffn_hidden_dim));
  }
  if (config.sizes.head_dim < 2 || config.sizes.head_dim % 2 != 0) {
    problems.add(
        fmt::format("model.args.head_dim: must be even, rotary embedding turns pairs; got {}", config.sizes.head_dim));
  }
}

}  // namespace titan::models::qwen3
