#include "titan/models/llama3/state_dict.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace titan::models::llama3 {
namespace {

Config tiny(bool tied) {
  return {.dim = 24, .n_layers = 2, .n_heads = 4, .n_kv_heads = 2, .vocab_size = 10, .tie_embeddings = tied};
}

// head_dim 6: rows 0..5 of a head go to 0, 3, 1, 4, 2, 5, real parts first.
TEST(Llama3StateDict, RotaryRowsArePermutedWithinEachHead) {
  const Config config = tiny(/*tied=*/false);
  const auto rows = [](int64_t n) { return at::arange(n, at::kFloat).unsqueeze(1).expand({n, 24}).contiguous(); };
  const auto expected = [](int64_t heads) {
    std::vector<float> order;
    for (int64_t head = 0; head < heads; ++head) {
      for (const int64_t row : {0, 2, 4, 1, 3, 5}) order.push_back(static_cast<float>(head * 6 + row));
    }
    return order;
  };
  const auto first_column = [](const at::Tensor& t) {
    const auto column = t.select(1, 0).contiguous();
    return std::vector<float>(column.const_data_ptr<float>(), column.const_data_ptr<float>() + column.numel());
  };
  EXPECT_EQ(first_column(to_hf("layers.0.attention.wq.weight", rows(24), config)), expected(4));
  EXPECT_EQ(first_column(to_hf("layers.1.attention.wk.weight", rows(12), config)), expected(2));  // grouped queries
  EXPECT_TRUE(at::equal(to_hf("layers.0.attention.wv.weight", rows(12), config), rows(12)));
}

TEST(Llama3StateDict, FromHfUndoesToHf) {
  const Config config = tiny(/*tied=*/false);
  for (const char* fqn : {"layers.0.attention.wq.weight", "layers.0.attention.wk.weight", "output.weight"}) {
    const auto weight = at::arange(12 * 24, at::kFloat).view({12, 24});
    EXPECT_TRUE(at::equal(from_hf(fqn, to_hf(fqn, weight, config), config), weight));
    EXPECT_TRUE(at::equal(to_hf(fqn, from_hf(fqn, weight, config), config), weight));
  }
}

TEST(Llama3StateDict, RefusesPartsOfHeads) {
  const Config config = tiny(/*tied=*/false);
  const auto weight = at::arange(7 * 24, at::kFloat).view({7, 24});
  EXPECT_THROW(to_hf("layers.0.attention.wq.weight", weight, config), c10::ValueError);
  EXPECT_THROW(from_hf("layers.0.attention.wk.weight", weight.view({-1}), config), c10::ValueError);
}

TEST(Llama3StateDict, ConfigJsonHasTheModelsSizes) {
  const auto json = nlohmann::json::parse(hf_config_json(*config_of("8B"), at::kBFloat16));
  EXPECT_EQ(json["architectures"][0], "LlamaForCausalLM");
  EXPECT_EQ(json["hidden_size"], 4096);
  EXPECT_EQ(json["intermediate_size"], 14336);
  EXPECT_EQ(json["num_key_value_heads"], 8);
  EXPECT_EQ(json["rope_theta"], 500000.0);
  EXPECT_EQ(json["rope_scaling"]["rope_type"], "llama3");
  EXPECT_EQ(json["rope_scaling"]["factor"], 8.0);
  EXPECT_EQ(json["torch_dtype"], "bfloat16");
  EXPECT_EQ(json["tie_word_embeddings"], false);

  Config unscaled = tiny(/*tied=*/true);
  unscaled.rope_scaling.scaling_factor = 1;
  const auto plain = nlohmann::json::parse(hf_config_json(unscaled, at::kFloat));
  EXPECT_TRUE(plain["rope_scaling"].is_null());
  EXPECT_EQ(plain["tie_word_embeddings"], true);
}

}  // namespace
}  // namespace titan::models::llama3
