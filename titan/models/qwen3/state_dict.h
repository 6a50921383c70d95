// The weights of a Qwen 3 as Hugging Face's Qwen3ForCausalLM has them: the names of hf_names.h, and every tensor as it
// is, since its rotary pairs are halves there too.
#pragma once

#include <c10/core/ScalarType.h>

#include <string>

#include "titan/checkpoint/train_state.h"
#include "titan/models/qwen3/config.h"

namespace titan::models::qwen3 {

// config.json, with which `transformers` builds the model. `dtype`: of the weights beside it.
std::string hf_config_json(const Config& config, at::ScalarType dtype);

checkpoint::ForeignFormat hugging_face_format(const Config& config);

}  // namespace titan::models::qwen3
