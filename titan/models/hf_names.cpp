#include "titan/models/hf_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace titan::models {
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
    NamePair{"attention.q_norm.weight", "self_attn.q_norm.weight"},
    NamePair{"attention.k_norm.weight", "self_attn.k_norm.weight"},
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

}  // namespace

std::optional<std::string> to_hf_name(std::string_view fqn, bool tie_embeddings) {
  if (tie_embeddings && fqn == kOutput) return std::nullopt;
  return translated(fqn, &NamePair::fqn, &NamePair::hf, kLayers, kHfLayers);
}

std::optional<std::string> from_hf_name(std::string_view hf_name, bool tie_embeddings) {
  if (tie_embeddings && hf_name == kHfOutput) return std::nullopt;
  const auto layer = split_layer(hf_name, kHfLayers);
  if (layer && layer->rest == kHfInverseFrequencies) return std::nullopt;
  return translated(hf_name, &NamePair::hf, &NamePair::fqn, kHfLayers, kLayers);
}

}  // namespace titan::models
