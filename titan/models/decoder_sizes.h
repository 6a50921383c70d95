// The sizes of a dense decoder (decoder.h): what is left of a family's flavours and model.args once each has worked out
// its own. No names and no defaults of any family are in here.
#pragma once

#include <cstdint>
#include <string>

#include "titan/nn/attention.h"

namespace titan::config {
class Problems;
}

namespace titan::models {

struct DecoderSizes {
  int64_t dim = 0;
  int64_t n_layers = 0;
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;  // n_heads * head_dim need not be dim
  int64_t ffn_hidden_dim = 0;
  int64_t vocab_size = 0;
  double norm_eps = 0;
  double rope_theta = 0;
  nn::RopeScaling rope_scaling = {.scaling_factor = 1.0};  // 1: as it is
  nn::RotaryPairs rotary_pairs = nn::RotaryPairs::kNeighbours;
  int64_t attention_window = 0;  // tokens up to its own that each attends to; 0: all
  bool mask_documents = false;   // tokens attend within their document, and positions begin anew with each
  bool qk_norm = false;          // queries and keys are normalised per head, with norm_eps
  bool depth_init = true;        // output projections shrink with their own layer's depth, not the model's
  bool tie_embeddings = false;   // the output layer uses the embedding's weights
};

// Adds a line for every size that makes no decoder. Keys are those of model.args.
void check(const DecoderSizes& sizes, config::Problems& problems);

// One line for the log.
std::string describe(const DecoderSizes& sizes);

}  // namespace titan::models
