#include "titan/models/hf_names.h"

#include <gtest/gtest.h>

namespace titan::models {
namespace {

TEST(HfNames, NamesMapBothWays) {
  const std::pair<const char*, const char*> names[] = {
      {"tok_embeddings.weight", "model.embed_tokens.weight"},
      {"layers.0.attention.wq.weight", "model.layers.0.self_attn.q_proj.weight"},
      {"layers.0.attention.wk.weight", "model.layers.0.self_attn.k_proj.weight"},
      {"layers.12.attention.wv.weight", "model.layers.12.self_attn.v_proj.weight"},
      {"layers.125.attention.wo.weight", "model.layers.125.self_attn.o_proj.weight"},
      {"layers.7.attention.q_norm.weight", "model.layers.7.self_attn.q_norm.weight"},
      {"layers.7.attention.k_norm.weight", "model.layers.7.self_attn.k_norm.weight"},
      {"layers.0.feed_forward.w1.weight", "model.layers.0.mlp.gate_proj.weight"},
      {"layers.0.feed_forward.w2.weight", "model.layers.0.mlp.down_proj.weight"},
      {"layers.0.feed_forward.w3.weight", "model.layers.0.mlp.up_proj.weight"},
      {"layers.0.attention_norm.weight", "model.layers.0.input_layernorm.weight"},
      {"layers.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"},
      {"norm.weight", "model.norm.weight"},
      {"output.weight", "lm_head.weight"},
  };
  for (const auto& [fqn, hf_name] : names) {
    EXPECT_EQ(to_hf_name(fqn, /*tie_embeddings=*/false), hf_name);
    EXPECT_EQ(from_hf_name(hf_name, /*tie_embeddings=*/false), fqn);
  }
}

TEST(HfNames, UnknownNamesComeBackAndAreSoFoundUnexpected) {
  for (const char* name : {"", "layers.", "layers.0", "layers.0.", "layers.x.attention.wq.weight", "layers.0.other",
                           "model.layers.0.self_attn.q_proj.bias", "score.weight"}) {
    EXPECT_EQ(to_hf_name(name, /*tie_embeddings=*/false), name);
    EXPECT_EQ(from_hf_name(name, /*tie_embeddings=*/false), name);
  }
  EXPECT_EQ(from_hf_name("model.layers.3.self_attn.rotary_emb.inv_freq", /*tie_embeddings=*/false), std::nullopt);
}

TEST(HfNames, TiedOutputHasNoTensorOfItsOwn) {
  EXPECT_EQ(to_hf_name("output.weight", /*tie_embeddings=*/true), std::nullopt);
  EXPECT_EQ(from_hf_name("lm_head.weight", /*tie_embeddings=*/true), std::nullopt);  // stored by some all the same
  EXPECT_EQ(to_hf_name("tok_embeddings.weight", /*tie_embeddings=*/true), "model.embed_tokens.weight");
}

}  // namespace
}  // namespace titan::models
