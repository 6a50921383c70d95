#include "titan/models/qwen3/state_dict.h"

#include <nlohmann/json.hpp>

#include "titan/checkpoint/dtype_names.h"
#include "titan/models/hf_names.h"

namespace titan::models::qwen3 {

std::string hf_config_json(const Config& config, at::ScalarType dtype) {
  const DecoderSizes& sizes = config.sizes;
  const nlohmann::ordered_json json = {
      {"architectures", {"Qwen3ForCausalLM"}},
      {"model_type", "qwen3"},
      {"hidden_size", sizes.dim},
      {"intermediate_size", sizes.ffn_hidden_dim},
      {"num_hidden_layers", sizes.n_layers},
      {"num_attention_heads", sizes.n_heads},
      {"num_key_value_heads", sizes.n_kv_heads},
      {"head_dim", sizes.head_dim},
      {"vocab_size", sizes.vocab_size},
      {"max_position_embeddings", config.max_seq_len},
      {"hidden_act", "silu"},
      {"attention_bias", false},
      {"attention_dropout", 0.0},
      {"rms_norm_eps", sizes.norm_eps},
      {"rope_theta", sizes.rope_theta},
      {"rope_scaling", nullptr},
      {"use_sliding_window", false},
      {"tie_word_embeddings", sizes.tie_embeddings},
      {"torch_dtype", checkpoint::torch_name(dtype)},
      // The tokenizer's business.
      {"bos_token_id", nullptr},
      {"eos_token_id", nullptr},
  };
  return json.dump(2) + "\n";
}

checkpoint::ForeignFormat hugging_face_format(const Config& config) {
  const bool tied = config.sizes.tie_embeddings;
  const auto as_it_is = [](std::string_view, const at::Tensor& tensor) { return tensor; };
  return {
      .to_fqn = [tied](std::string_view name) { return from_hf_name(name, tied); },
      .to_name = [tied](std::string_view fqn) { return to_hf_name(fqn, tied); },
      .from_foreign = as_it_is,
      .to_foreign = as_it_is,
      .config_json = [config](at::ScalarType dtype) { return hf_config_json(config, dtype); },
  };
}

}  // namespace titan::models::qwen3
