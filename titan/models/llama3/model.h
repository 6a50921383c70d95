// Llama 3 (Dubey et al. 2024, arXiv 2407.21783, section 3.2) as Meta trains it: the dense decoder, whose rotary pairs
// are neighbours.
#pragma once

#include "titan/models/decoder.h"
#include "titan/models/llama3/config.h"

namespace titan::models::llama3 {

class Transformer : public Decoder {
 public:
  // On the meta device. Buffers serve `max_positions` positions.
  Transformer(const Config& config, int64_t max_positions, at::ScalarType dtype)
      : Decoder(sizes_of(config), max_positions, dtype) {}
};

}  // namespace titan::models::llama3
