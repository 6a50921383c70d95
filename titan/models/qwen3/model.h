// Qwen 3 (Yang et al. 2025, arXiv 2505.09388, section 2), dense: the decoder with queries and keys normalised per head,
// heads whose width is not dim / n_heads, and rotary pairs that are halves of a head.
#pragma once

#include "titan/models/decoder.h"
#include "titan/models/qwen3/config.h"

namespace titan::models::qwen3 {

class Transformer : public Decoder {
 public:
  // On the meta device. Buffers serve `max_positions` positions.
  Transformer(const Config& config, int64_t max_positions, at::ScalarType dtype)
      : Decoder(config.sizes, max_positions, dtype) {}
};

}  // namespace titan::models::qwen3
