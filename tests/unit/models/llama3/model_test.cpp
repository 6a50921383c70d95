#include "titan/models/llama3/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/tensors.h"
#include "titan/config/job_config.h"
#include "titan/config/problems.h"
#include "titan/metrics/memory.h"

namespace titan::models::llama3 {
namespace {

int64_t num_parameters(const Config& config) {
  const Transformer model(config, 16, at::kFloat);
  int64_t count = 0;
  for (const nn::Parameter* parameter : model.parameters()) count += parameter->get().numel();
  return count;
}

TEST(Llama3, FlavorsHaveTheirPublishedSizes) {
  EXPECT_EQ(num_parameters(*config_of("debugmodel")), 6'163'712);
  EXPECT_EQ(num_parameters(*config_of("1B")), 1'235'814'400);
  EXPECT_EQ(num_parameters(*config_of("1B_untied")), 1'498'482'688);
  EXPECT_EQ(num_parameters(*config_of("3B")), 3'212'749'824);
  EXPECT_EQ(num_parameters(*config_of("8B")), 8'030'261'248);
  EXPECT_EQ(num_parameters(*config_of("70B")), 70'553'706'496);
  EXPECT_EQ(num_parameters(*config_of("405B")), 405'853'388'800);
  EXPECT_FALSE(config_of("9B").has_value());
}

TEST(Llama3, FqnsAreTorchTitans) {
  Config config = *config_of("debugmodel");
  config.n_layers = 1;
  const Transformer model(config, 16, at::kFloat);
  std::vector<std::string> names;
  for (const nn::Parameter* parameter : model.parameters()) names.push_back(parameter->fqn());
  EXPECT_EQ(names,
            (std::vector<std::string>{
                "tok_embeddings.weight", "layers.0.attention.wq.weight", "layers.0.attention.wk.weight",
                "layers.0.attention.wv.weight", "layers.0.attention.wo.weight", "layers.0.feed_forward.w1.weight",
                "layers.0.feed_forward.w2.weight", "layers.0.feed_forward.w3.weight", "layers.0.attention_norm.weight",
                "layers.0.ffn_norm.weight", "norm.weight", "output.weight"}));
}

// 1.6 TB of parameters. libtorch alone takes about 110 MB.
TEST(Llama3, MetaModelTakesNoMemory) {
  const Transformer model(*config_of("405B"), 131072, at::kFloat);
  EXPECT_TRUE(model.freqs_cis.get().is_meta());
#ifndef __SANITIZE_ADDRESS__  // which keeps memory of its own
  EXPECT_LT(metrics::process_memory().peak_reserved_bytes, 200'000'000);
#endif
}

TEST(Llama3, FlopsFollowTorchTitansFormula) {
  const Transformer model(*config_of("debugmodel"), 16, at::kFloat);
  const double expected = 6.0 * (6'163'712 - 2048 * 256) + 12.0 * 6 * 16 * 16 * 512;
  EXPECT_EQ(model.flops_per_token(512), expected);
}

double std_of(const nn::Parameter& parameter) { return parameter.get().detach().std().item<double>(); }

TEST(Llama3, InitialWeightsHaveTorchTitansDistributions) {
  Transformer model(*config_of("debugmodel"), 16, at::kFloat);
  model.to_empty(at::kCPU);
  model.init_weights(nn::Initializer(42));
  const DecoderBlock& third = *(*model.layers)[2];
  EXPECT_NEAR(std_of(model.tok_embeddings->weight), 1.0, 0.01);
  EXPECT_NEAR(std_of(third.attention->wq->weight), 0.02, 0.0005);
  EXPECT_NEAR(std_of(third.feed_forward->w1->weight), 0.02, 0.0005);
  const double depth_std = 0.02 / std::sqrt(2.0 * 3);
  for (const nn::Parameter* weight :
       {&third.attention->wo->weight, &third.feed_forward->w2->weight, &third.feed_forward->w3->weight}) {
    EXPECT_NEAR(std_of(*weight), depth_std, 0.03 * depth_std) << weight->fqn();
  }
  EXPECT_TRUE(at::equal(third.ffn_norm->weight.get(), at::ones({256})));
  const at::Tensor& output = model.output->weight.get();
  EXPECT_LE(output.abs().max().item<double>(), 3.0 / 16 + 1e-6);
  EXPECT_NEAR(std_of(model.output->weight), 0.98658 / 16, 0.0005);  // cut at 3 deviations
}

TEST(Llama3, WithoutDepthInitAllLayersShareOneScale) {
  Config config = *config_of("debugmodel");
  config.depth_init = false;
  Transformer model(config, 16, at::kFloat);
  model.to_empty(at::kCPU);
  model.init_weights(nn::Initializer(42));
  EXPECT_NEAR(std_of((*model.layers)[0]->attention->wo->weight), 0.02 / std::sqrt(12.0), 0.0002);
}

TEST(Llama3, TiedEmbeddingsAreOneTensorThatBothUsesTrain) {
  Config config = *config_of("debugmodel");
  config.n_layers = 1;
  config.tie_embeddings = true;
  Transformer model(config, 16, at::kFloat);
  model.to_empty(at::kCPU);
  model.init_weights(nn::Initializer(42));
  EXPECT_TRUE(model.output->weight.get().is_same(model.tok_embeddings->weight.get()));
  EXPECT_NEAR(std_of(model.output->weight), 0.98658 / 16, 0.0005);
  const at::Tensor tokens = at::full({1, 4}, 7, at::kLong);
  model.output(model(tokens)).sum().backward();
  const at::Tensor gradient = model.tok_embeddings->weight.get().grad();
  // Row 3 is used by the output only, row 7 by the embedding too.
  EXPECT_FALSE(at::equal(gradient[3], gradient[7]));
}

TEST(Llama3, AbsentPartsArePassedThrough) {
  Config config = *config_of("debugmodel");
  config.n_layers = 2;
  Transformer whole(config, 16, at::kFloat), stage(config, 16, at::kFloat);
  for (Transformer* model : {&whole, &stage}) {
    model->to_empty(at::kCPU);
    model->init_weights(nn::Initializer(42));
  }
  stage.tok_embeddings.replace(nullptr);
  (*stage.layers)[0].replace(nullptr);
  stage.norm.replace(nullptr);
  stage.output.replace(nullptr);
  const at::Tensor hidden = test::random({2, 5, 256}, 1);
  EXPECT_TRUE(at::equal(stage(hidden), (*(*whole.layers)[1])(hidden, whole.freqs_cis.get())));
  EXPECT_EQ((*stage.layers)[1]->fqn(), "layers.1");
}

TEST(Llama3Config, ArgsReplaceTheFlavorsSizes) {
  config::ModelArgs args;
  args.dim = 64;
  args.n_heads = 4;
  args.multiple_of = 64;
  args.enable_weight_tying = true;
  args.rope_scaling_args.scaling_factor = 1.0;
  const Config config = with_args(*config_of("debugmodel"), args);
  EXPECT_EQ(config.dim, 64);
  EXPECT_EQ(config.n_layers, 6);
  EXPECT_EQ(config.ffn_hidden_dim(), 192);
  EXPECT_TRUE(config.tie_embeddings);
  EXPECT_EQ(config.rope_scaling.scaling_factor, 1.0);
}

TEST(Llama3Config, SizesThatMakeNoModelAreAllNamed) {
  Config config = *config_of("8B");
  config.n_heads = 30;
  config.n_kv_heads = 8;
  config.norm_eps = 0;
  config.vocab_size = 0;
  config::Problems problems;
  check(config, problems);
  ASSERT_EQ(problems.lines().size(), 4u);
  for (const char* key :
       {"model.args.vocab_size", "model.args.n_heads", "model.args.n_kv_heads", "model.args.norm_eps"}) {
    EXPECT_TRUE(std::any_of(problems.lines().begin(), problems.lines().end(), [&](const std::string& line) {
      return line.starts_with(std::string(key) + ":");
    })) << key;
  }
}

}  // namespace
}  // namespace titan::models::llama3
