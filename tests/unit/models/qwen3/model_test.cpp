#include "titan/models/qwen3/model.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "titan/config/job_config.h"
#include "titan/config/problems.h"
#include "titan/models/registry.h"

namespace titan::models::qwen3 {
namespace {

// By TorchTitan's model on the meta device.
TEST(Qwen3, FlavorsHaveTorchTitansSizes) {
  const std::pair<const char*, int64_t> sizes[] = {
      {"debugmodel", 31'987'968}, {"0.6B", 596'049'920},   {"1.7B", 1'720'574'976}, {"4B", 4'022'468'096},
      {"8B", 8'190'735'360},      {"14B", 14'768'307'200}, {"32B", 32'762'123'264}};
  EXPECT_EQ(flavors().size(), std::size(sizes));
  for (const auto& [flavor, expected] : sizes) {
    const Transformer model(config_of(flavor).value(), 16, at::kFloat);
    int64_t count = 0;
    for (const nn::Parameter* parameter : model.parameters()) count += parameter->get().numel();
    EXPECT_EQ(count, expected) << flavor;
  }
  EXPECT_FALSE(config_of("9B").has_value());
}

Config small() {
  Config config = *config_of("debugmodel");
  config.sizes.n_layers = 3;
  config.sizes.head_dim = 32;
  return config;
}

TEST(Qwen3, FqnsAreTorchTitans) {
  Config config = small();
  config.sizes.n_layers = 1;
  config.sizes.tie_embeddings = false;
  const Transformer model(config, 16, at::kFloat);
  std::vector<std::string> names;
  for (const nn::Parameter* parameter : model.parameters()) names.push_back(parameter->fqn());
  EXPECT_EQ(names,
            (std::vector<std::string>{
                "tok_embeddings.weight", "layers.0.attention.wq.weight", "layers.0.attention.wk.weight",
                "layers.0.attention.wv.weight", "layers.0.attention.wo.weight", "layers.0.attention.q_norm.weight",
                "layers.0.attention.k_norm.weight", "layers.0.feed_forward.w1.weight",
                "layers.0.feed_forward.w2.weight", "layers.0.feed_forward.w3.weight", "layers.0.attention_norm.weight",
                "layers.0.ffn_norm.weight", "norm.weight", "output.weight"}));
}

TEST(Qwen3, FlopsFollowTorchTitansFormula) {
  EXPECT_EQ(Transformer(*config_of("debugmodel"), 16, at::kFloat).flops_per_token(512), 289'445'376.0);
  EXPECT_EQ(Transformer(*config_of("32B"), 16, at::kFloat).flops_per_token(512), 195'126'491'136.0);
}

TEST(Qwen3, InitialWeightsHaveTorchTitansDistributions) {
  Transformer model(small(), 16, at::kFloat);
  model.to_empty(at::kCPU);
  model.init_weights(nn::Initializer(42));
  const auto std_of = [](const nn::Parameter& p) { return p.get().detach().std().item<double>(); };
  const DecoderBlock& third = *(*model.layers)[2];
  EXPECT_TRUE(at::equal(third.attention->q_norm->weight.get(), at::ones({32})));
  EXPECT_TRUE(at::equal(third.attention->k_norm->weight.get(), at::ones({32})));
  EXPECT_NEAR(std_of(third.attention->wq->weight), 0.02, 0.0005);
  EXPECT_NEAR(std_of(third.attention->wo->weight), 0.02 / std::sqrt(6.0), 0.0003);
  // Tied, one tensor with the output layer's scale.
  EXPECT_TRUE(model.output->weight.get().is_same(model.tok_embeddings->weight.get()));
  EXPECT_NEAR(std_of(model.output->weight), 0.98658 / 16, 0.0005);  // cut at 3 deviations
}

TEST(Qwen3Config, ArgsReplaceTheFlavorsSizes) {
  config::ModelArgs args;
  args.head_dim = 64;
  args.hidden_dim = 100;
  args.enable_weight_tying = false;
  const Config config = with_args(*config_of("0.6B"), args);
  EXPECT_EQ(config.sizes.head_dim, 64);
  EXPECT_EQ(config.sizes.ffn_hidden_dim, 100);
  EXPECT_EQ(config.sizes.dim, 1024);
  EXPECT_FALSE(config.sizes.tie_embeddings);
}

// What the family says of a job; each line's key.
std::vector<std::string> problems_of(const config::JobConfig& job) {
  config::Problems problems;
  find_model("qwen3")->check(job, problems);
  return problems.lines();
}

config::JobConfig job_of(const char* flavor) {
  config::JobConfig job;
  job.model.name = "qwen3";
  job.model.flavor = flavor;
  return job;
}

TEST(Qwen3Config, EveryFlavorIsSound) {
  for (const std::string& flavor : flavors()) EXPECT_TRUE(problems_of(job_of(flavor.c_str())).empty()) << flavor;
}

TEST(Qwen3Config, SizesThatMakeNoModelAreAllNamed) {
  config::JobConfig job = job_of("8B");
  job.model.args.n_heads = 30;
  job.model.args.head_dim = 7;
  job.model.args.hidden_dim = 0;
  job.model.args.norm_eps = 0;
  const std::vector<std::string> lines = problems_of(job);
  ASSERT_EQ(lines.size(), 4u);
  for (const char* key : {"n_kv_heads", "head_dim", "hidden_dim", "norm_eps"}) {
    EXPECT_TRUE(std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.starts_with(std::string("model.args.") + key + ":");
    })) << key;
  }
}

TEST(Qwen3Config, SizesOfOtherModelsAreRefused) {
  config::JobConfig job = job_of("8B");
  job.model.args.multiple_of = 256;
  job.model.args.rope_scaling_args.scaling_factor = 8;
  const std::vector<std::string> lines = problems_of(job);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_TRUE(lines[0].starts_with("model.args.multiple_of: qwen3 has no such size; it has dim, ")) << lines[0];
  EXPECT_TRUE(lines[1].starts_with("model.args.rope_scaling_args.scaling_factor: ")) << lines[1];

  config::JobConfig llama;
  llama.model.args.head_dim = 64;
  config::Problems problems;
  find_model("llama3")->check(llama, problems);
  ASSERT_EQ(problems.lines().size(), 1u);
  EXPECT_TRUE(problems.lines()[0].starts_with("model.args.head_dim: llama3 has no such size"));
}

TEST(Qwen3Config, MixturesOfExpertsAreNotThereYet) {
  for (const char* flavor : {"debugmodel_moe", "30B-A3B", "235B-A22B"}) {
    const std::vector<std::string> lines = problems_of(job_of(flavor));
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_NE(lines[0].find(std::string(flavor) + " of qwen3 is a mixture of experts, which is not available yet"),
              std::string::npos);
  }
  EXPECT_NE(problems_of(job_of("7B"))[0].find("expected one of debugmodel, 0.6B"), std::string::npos);
}

// 8 KV heads.
TEST(Qwen3Config, DegreesMustFitTheHeads) {
  config::JobConfig job = job_of("32B");
  job.parallelism.tensor_parallel_degree = 16;
  ASSERT_EQ(problems_of(job).size(), 1u);
  EXPECT_TRUE(problems_of(job)[0].starts_with("parallelism.tensor_parallel_degree: must divide num_kv_heads (8)"));
}

}  // namespace
}  // namespace titan::models::qwen3
