#include "titan/models/qwen3/state_dict.h"

#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace titan::models::qwen3 {
namespace {

TEST(Qwen3StateDict, TensorsAreHuggingFacesAsTheyAre) {
  const auto format = hugging_face_format(*config_of("8B"));
  const at::Tensor weight = at::arange(12, at::kFloat).view({4, 3});
  EXPECT_TRUE(format.to_foreign("layers.0.attention.wq.weight", weight).is_same(weight));
  EXPECT_TRUE(format.from_foreign("layers.0.attention.wk.weight", weight).is_same(weight));
  EXPECT_EQ(format.to_name("layers.3.attention.q_norm.weight"), "model.layers.3.self_attn.q_norm.weight");
  EXPECT_EQ(format.to_fqn("model.layers.3.self_attn.k_norm.weight"), "layers.3.attention.k_norm.weight");
}

TEST(Qwen3StateDict, OnlyTiedFlavorsHaveNoOutputTensor) {
  for (const std::string& flavor : flavors()) {
    const auto format = hugging_face_format(*config_of(flavor));
    const bool tied = flavor == "debugmodel" || flavor == "0.6B" || flavor == "1.7B" || flavor == "4B";
    EXPECT_EQ(format.to_name("output.weight").has_value(), !tied) << flavor;
    EXPECT_EQ(format.to_fqn("lm_head.weight").has_value(), !tied) << flavor;
  }
}

// The published config.json of Qwen3-0.6B.
TEST(Qwen3StateDict, ConfigJsonHasTheModelsSizes) {
  const auto json = nlohmann::json::parse(hf_config_json(*config_of("0.6B"), at::kBFloat16));
  const auto published = nlohmann::json::parse(R"({
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40960,
    "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000, "tie_word_embeddings": true,
    "torch_dtype": "bfloat16", "use_sliding_window": false, "vocab_size": 151936})");
  for (const auto& [key, value] : published.items()) EXPECT_EQ(json[key], value) << key;
}

}  // namespace
}  // namespace titan::models::qwen3
