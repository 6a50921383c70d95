#include "titan/models/llama3/state_dict.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "titan/checkpoint/dtype_names.h"

namespace titan::models::llama3 {
namespace {

struct NamePair {
  std::string_view fqn, hf;
};

constexpr std::array kTopLevel = {
    NamePair{"tok_embeddings.weight", "model.embed_tokens.weight"},
    NamePair{"norm.weight", "model.norm.weight"},
    NamePair{"output.weight", "lm_head.weight"},
};

// After "layers.<i>." and "model.layers.<i>.".
constexpr std::array kInLayer = {
    NamePair{"attention.wq.weight", "self_attn.q_proj.weight"},
    NamePair{"attention.wk.weight", "self_attn.k_proj.weight"},
    NamePair{"attention.wv.weight", "self_attn.v_proj.weight"},
    NamePair{"attention.wo.weight", "self_attn.o_proj.weight"},
    NamePair{"feed_forward.w1.weight", "mlp.gate_proj.weight"},
    NamePair{"feed_forward.w2.weight", "mlp.down_proj.weight"},
    NamePair{"feed_forward.w3.weight", "mlp.up_proj.weight"},
    NamePair{"attention_norm.weight", "input_layernorm.weight"},
    NamePair{"ffn_norm.weight", "post_attention_layernorm.weight"},
};

constexpr std::string_view kLayers = "layers.";
constexpr std::string_view kHfLayers = "model.layers.";
constexpr std::string_view kOutput = "output.weight";
constexpr std::string_view kHfOutput = "lm_head.weight";
constexpr std::string_view kHfInverseFrequencies = "self_attn.rotary_emb.inv_freq";

struct LayerName {
  std::string_view index, rest;  // "12", "attention.wq.weight"
};

std::optional<LayerName> split_layer(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  const size_t num_digits = std::min(name.find_first_not_of("0123456789"), name.size());
  if (num_digits == 0 || num_digits == name.size() || name[num_digits] != '.') return std::nullopt;
  return LayerName{.index = name.substr(0, num_digits), .rest = name.substr(num_digits + 1)};
}

std::string translated(std::string_view name, std::string_view NamePair::*from, std::string_view NamePair::*to,
                       std::string_view from_layers, std::string_view to_layers) {
  const auto layer = split_layer(name, from_layers);
  const auto find = [&](const auto& table, std::string_view key) {
    return std::find_if(table.begin(), table.end(), [&](const NamePair& pair) { return pair.*from == key; });
  };
  if (layer) {
    const auto found = find(kInLayer, layer->rest);
    return found == kInLayer.end() ? std::string(name) : fmt::format("{}{}.{}", to_layers, layer->index, (*found).*to);
  }
  const auto found = find(kTopLevel, name);
  return std::string(found == kTopLevel.end() ? name : (*found).*to);
}

bool is_rotary(std::string_view fqn) {
  const auto layer = split_layer(fqn, kLayers);
  return layer && (layer->rest == "attention.wq.weight" || layer->rest == "attention.wk.weight");
}

// Heads of a wq or wk: from the tensor, since it may be a shard.
int64_t num_heads(std::string_view fqn, const at::Tensor& weight, const Config& config) {
  TORCH_CHECK_VALUE(weight.dim() == 2 && weight.size(0) % config.head_dim() == 0, fqn,
                    ": expected a matrix of whole heads (a multiple of ", config.head_dim(), " rows), got shape ",
                    weight.sizes());
  return weight.size(0) / config.head_dim();
}

}  // namespace

std::optional<std::string> to_hf_name(std::string_view fqn, const Config& config) {
  if (config.tie_embeddings && fqn == kOutput) return std::nullopt;
  return translated(fqn, &NamePair::fqn, &NamePair::hf, kLayers, kHfLayers);
}

std::optional<std::string> from_hf_name(std::string_view hf_name, const Config& config) {
  if (config.tie_embeddings && hf_name == kHfOutput) return std::nullopt;
  const auto layer = split_layer(hf_name, kHfLayers);
  if (layer && layer->rest == kHfInverseFrequencies) return std::nullopt;
  return translated(hf_name, &NamePair::hf, &NamePair::fqn, kHfLayers, kLayers);
}

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
      .to_fqn = [config](std::string_view name) { return from_hf_name(name, config); },
      .to_name = [config](std::string_view fqn) { return to_hf_name(fqn, config); },
      .from_foreign = [config](std::string_view fqn, const at::Tensor& t) { return from_hf(fqn, t, config); },
      .to_foreign = [config](std::string_view fqn, const at::Tensor& t) { return to_hf(fqn, t, config); },
      .config_json = [config](at::ScalarType dtype) { return hf_config_json(config, dtype); },
  };
}

}  // namespace titan::models::llama3
