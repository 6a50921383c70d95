#include "titan/models/llama3/state_dict.h"

#include <c10/util/Exception.h>
#include <nlohmann/json.hpp>

#include "titan/checkpoint/dtype_names.h"
#include "titan/models/hf_names.h"

namespace titan::models::llama3 {
namespace {

bool is_rotary(std::string_view fqn) {
  return fqn.ends_with(".attention.wq.weight") || fqn.ends_with(".attention.wk.weight");
}

// Heads of a wq or wk: from the tensor, since it may be a shard.
int64_t num_heads(std::string_view fqn, const at::Tensor& weight, const Config& config) {
  TORCH_CHECK_VALUE(weight.dim() == 2 && weight.size(0) % config.head_dim() == 0, fqn,
                    ": expected a matrix of whole heads (a multiple of ", config.head_dim(), " rows), got shape ",
                    weight.sizes());
  return weight.size(0) / config.head_dim();
}

}  // namespace

at::Tensor to_hf(std::string_view fqn, const at::Tensor& tensor, const Config& config) {
  if (!is_rotary(fqn)) return tensor;
  const int64_t heads = num_heads(fqn, tensor, config);
  // [Note: rotary permutation]
  return tensor.reshape({heads, config.head_dim() / 2, 2, tensor.size(1)}).transpose(1, 2).reshape(tensor.sizes());
}

at::Tensor from_hf(std::string_view fqn, const at::Tensor& tensor, const Config& config) {
  if (!is_rotary(fqn)) return tensor;
  const int64_t heads = num_heads(fqn, tensor, config);
  // [Note: rotary permutation]
  return tensor.reshape({heads, 2, config.head_dim() / 2, tensor.size(1)}).transpose(1, 2).reshape(tensor.sizes());
}

std::string hf_config_json(const Config& config, at::ScalarType dtype) {
  nlohmann::ordered_json json = {
      {"architectures", {"LlamaForCausalLM"}},
      {"model_type", "llama"},
      {"hidden_size", config.dim},
      {"intermediate_size", config.ffn_hidden_dim()},
      {"num_hidden_layers", config.n_layers},
      {"num_attention_heads", config.n_heads},
      {"num_key_value_heads", config.num_kv_heads()},
      {"head_dim", config.head_dim()},
      {"vocab_size", config.vocab_size},
      {"max_position_embeddings", config.max_seq_len},
      {"hidden_act", "silu"},
      {"attention_bias", false},
      {"attention_dropout", 0.0},
      {"mlp_bias", false},
      {"rms_norm_eps", config.norm_eps},
      {"rope_theta", config.rope_theta},
      {"rope_scaling", nullptr},
      {"tie_word_embeddings", config.tie_embeddings},
      {"torch_dtype", checkpoint::torch_name(dtype)},
      // The tokenizer's business; without these lines `transformers` would put the ids of Llama 1 here.
      {"bos_token_id", nullptr},
      {"eos_token_id", nullptr},
  };
  const auto& scaling = config.rope_scaling;
  if (scaling.scaling_factor != 1) {
    json["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", scaling.scaling_factor},
                            {"low_freq_factor", scaling.low_freq_factor},
                            {"high_freq_factor", scaling.high_freq_factor},
                            {"original_max_position_embeddings", scaling.original_max_position_embeddings}};
  }
  return json.dump(2) + "\n";
}

checkpoint::ForeignFormat hugging_face_format(const Config& config) {
  return {
      .to_fqn = [config](std::string_view name) { return from_hf_name(name, config.tie_embeddings); },
      .to_name = [config](std::string_view fqn) { return to_hf_name(fqn, config.tie_embeddings); },
      .from_foreign = [config](std::string_view fqn, const at::Tensor& t) { return from_hf(fqn, t, config); },
      .to_foreign = [config](std::string_view fqn, const at::Tensor& t) { return to_hf(fqn, t, config); },
      .config_json = [config](at::ScalarType dtype) { return hf_config_json(config, dtype); },
  };
}

}  // namespace titan::models::llama3
