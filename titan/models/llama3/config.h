// The sizes of a Llama 3 model (Dubey et al. 2024, arXiv 2407.21783): the flavours by name, and model.args.* over them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "titan/models/decoder_sizes.h"
#include "titan/nn/rotary.h"

namespace titan::config {
class Problems;
struct ModelArgs;
}  // namespace titan::config

namespace titan::models::llama3 {

struct Config {
  int64_t dim = 4096;
  int64_t n_layers = 32;
  int64_t n_heads = 32;
  std::optional<int64_t> n_kv_heads;  // default: n_heads
  int64_t vocab_size = 128256;
  int64_t multiple_of = 256;  // the FFN's hidden size is rounded up to a multiple of this
  std::optional<double> ffn_dim_multiplier;
  double norm_eps = 1e-5;
  double rope_theta = 10000;
  nn::RopeScaling rope_scaling;
  int64_t max_seq_len = 131072;
  bool depth_init = true;       // output projections shrink with their own layer's depth, not the model's
  bool tie_embeddings = false;  // the output layer uses the embedding's weights
  bool mask_documents = false;  // attn_mask_type block_causal
  int64_t sliding_window = 0;   // tokens up to its own that each attends to; 0: all

  int64_t num_kv_heads() const { return n_kv_heads.value_or(n_heads); }
  int64_t head_dim() const { return dim / n_heads; }
  // 2/3 of 4 dim, times ffn_dim_multiplier, rounded up: SwiGLU has three matrices where a plain FFN has two.
  int64_t ffn_hidden_dim() const;
};

std::vector<std::string> flavors();

DecoderSizes sizes_of(const Config& config);

// Null if there is no such flavour.
std::optional<Config> config_of(std::string_view flavor);

// `base` with the sizes of model.args in place of its own.
Config with_args(Config base, const config::ModelArgs& args);

// The keys of model.args that with_args reads.
std::vector<std::string_view> known_args();

// Adds a line for every size that makes no model.
void check(const Config& config, config::Problems& problems);

}  // namespace titan::models::llama3
