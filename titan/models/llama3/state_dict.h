// The weights of a Llama 3 as Hugging Face's LlamaForCausalLM has them: names (hf_names.h), and rows of wq and wk in
// another order. One tensor at a time, so that no second copy of the model is ever held.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>

#include "titan/checkpoint/train_state.h"
#include "titan/models/llama3/config.h"

namespace titan::models::llama3 {

// [Note: rotary permutation]
// We turn neighbouring elements (2i, 2i + 1) of a head as one complex number, Hugging Face elements i and
// i + head_dim / 2. Queries and keys meet only in dot products over a head, so the same model comes out if the rows of
// each head in wq and wk change places accordingly: row 2i + r of ours is row r * head_dim / 2 + i of theirs.
// Works head by head, so it holds for grouped-query attention too. weight: [heads * head_dim, dim], any heads.

// A tensor of ours for Hugging Face and back; a new tensor for wq and wk, else the same. Both take the FQN.
// Throw c10::ValueError if the rows of wq or wk are no whole heads.
at::Tensor to_hf(std::string_view fqn, const at::Tensor& tensor, const Config& config);
at::Tensor from_hf(std::string_view fqn, const at::Tensor& tensor, const Config& config);

// config.json, with which `transformers` builds the model. `dtype`: of the weights beside it.
std::string hf_config_json(const Config& config, at::ScalarType dtype);

// All of the above for one model's sizes.
checkpoint::ForeignFormat hugging_face_format(const Config& config);

}  // namespace titan::models::llama3
