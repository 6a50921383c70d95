// A model family in one file, outside the tree: a GPT with learned positions (Radford et al. 2019) whose blocks compute
// attention and feed-forward side by side from one LayerNorm, x + attention(norm(x)) + ffn(norm(x)) (Chowdhery et al.
// 2022, arXiv 2204.02311, section 2). The program loads the library and trains the model with whatever data parallelism
// the job asks for:
//   build/titan train --job.config_file configs/llama3/debug.toml --experimental.custom_import
//       build/examples/custom_model/parallel_gpt.so --model.name parallel_gpt --model.flavor tiny
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <fmt/format.h>

#include <cmath>

#include "titan/config/job_config.h"
#include "titan/config/problems.h"
#include "titan/models/extension.h"
#include "titan/models/model_args.h"
#include "titan/models/parallelize.h"
#include "titan/nn/dtype.h"
#include "titan/nn/embedding.h"

namespace {

using namespace titan;  // NOLINT(google-build-using-namespace): a program of its own, made of titan's parts

// 1. Sizes: a flavour, and model.args over it.

struct Sizes {
  int64_t dim = 64;
  int64_t n_layers = 2;
  int64_t n_heads = 4;
  int64_t vocab_size = 2048;
  int64_t max_seq_len = 1024;
  double norm_eps = 1e-5;
};

Sizes sizes_of(const config::JobConfig& job) {
  Sizes sizes;
  models::take(sizes.dim, job.model.args.dim);
  models::take(sizes.n_layers, job.model.args.n_layers);
  models::take(sizes.n_heads, job.model.args.n_heads);
  models::take(sizes.vocab_size, job.model.args.vocab_size);
  models::take(sizes.max_seq_len, job.model.args.max_seq_len);
  models::take(sizes.norm_eps, job.model.args.norm_eps);
  return sizes;
}

// 2. Modules. They know no rank: a parameter is read through its slot at each use, and sizes come from the tensors.

class LayerNorm : public nn::Callable<LayerNorm> {
 public:
  LayerNorm(int64_t dim, double eps, at::ScalarType dtype)
      : weight(this, "weight", {dim}, dtype), bias(this, "bias", {dim}, dtype), eps_(eps) {}

  at::Tensor forward(const at::Tensor& x) {
    return at::layer_norm(x, weight.get().sizes(), weight.get(), bias.get(), eps_);
  }

  nn::Parameter weight;
  nn::Parameter bias;

 private:
  double eps_;
};

std::shared_ptr<nn::Linear> linear(int64_t in, int64_t out, at::ScalarType dtype) {
  return std::make_shared<nn::Linear>(in, out, dtype);
}

class Block : public nn::Callable<Block> {
 public:
  Block(const Sizes& s, at::ScalarType dtype)
      : norm(this, "norm", std::make_shared<LayerNorm>(s.dim, s.norm_eps, dtype)),
        qkv(this, "qkv", linear(s.dim, 3 * s.dim, dtype)),
        attention_out(this, "attention_out", linear(s.dim, s.dim, dtype)),
        up(this, "up", linear(s.dim, 4 * s.dim, dtype)),
        down(this, "down", linear(4 * s.dim, s.dim, dtype)),
        head_dim_(s.dim / s.n_heads) {}

  // x: [batch, seq, dim] -> the same shape
  at::Tensor forward(const at::Tensor& x) {
    const at::Tensor normed = norm(x);
    return x + attend(normed) + down(at::gelu(up(normed)));
  }

  nn::Child<LayerNorm> norm;
  nn::Child<nn::Linear> qkv;
  nn::Child<nn::Linear> attention_out;
  nn::Child<nn::Linear> up;
  nn::Child<nn::Linear> down;

 private:
  at::Tensor attend(const at::Tensor& x) {
    const at::Tensor heads = qkv(x).view({x.size(0), x.size(1), 3, -1, head_dim_}).permute({2, 0, 3, 1, 4});
    const at::Tensor attended = at::scaled_dot_product_attention(heads[0], heads[1], heads[2], /*attn_mask=*/{},
                                                                 /*dropout_p=*/0.0, /*is_causal=*/true);
    return attention_out(attended.transpose(1, 2).flatten(2));
  }

  int64_t head_dim_;
};

class ParallelGpt : public models::LanguageModel {
 public:
  ParallelGpt(const Sizes& s, at::ScalarType dtype)
      : tok_embeddings(this, "tok_embeddings", std::make_shared<nn::Embedding>(s.vocab_size, s.dim, dtype)),
        pos_embeddings(this, "pos_embeddings", std::make_shared<nn::Embedding>(s.max_seq_len, s.dim, dtype)),
        layers(this, "layers", std::make_shared<nn::ModuleList<Block>>()),
        norm(this, "norm", std::make_shared<LayerNorm>(s.dim, s.norm_eps, dtype)),
        output(this, "output", linear(s.dim, s.vocab_size, dtype)),
        sizes_(s) {
    for (int64_t i = 0; i < s.n_layers; ++i) layers->append(std::make_shared<Block>(s, dtype));
  }

  // Its attention is its own, so it neither stays within documents nor is shared by ranks; the check refuses both.
  at::Tensor forward(const at::Tensor& tokens, const nn::TokenPlaces&) override {
    at::Tensor h = tok_embeddings(tokens) + pos_embeddings(at::arange(tokens.size(1), tokens.options()));
    for (int64_t i = 0; i < layers->size(); ++i) h = (*layers)[i](h);
    return norm(h);
  }

  models::ModelParts parts() override {
    models::ModelParts parts{.input = {tok_embeddings.module(), pos_embeddings.module()},
                             .output = {norm.module(), output.module()}};
    for (int64_t i = 0; i < layers->size(); ++i) parts.blocks.push_back((*layers)[i].module());
    return parts;
  }

  nn::Child<nn::Linear>& output_layer() override { return output; }

  void init_weights(const nn::Initializer& initializer) override {
    const double narrow = 0.02 / std::sqrt(2.0 * static_cast<double>(sizes_.n_layers));
    const auto init_norm = [&](LayerNorm& n) {
      initializer.ones(n.weight);
      initializer.zeros(n.bias);
    };
    initializer.normal(tok_embeddings->weight, 0.0, 0.02);
    initializer.normal(pos_embeddings->weight, 0.0, 0.02);
    for (int64_t i = 0; i < layers->size(); ++i) {
      Block& block = *(*layers)[i];
      init_norm(*block.norm);
      initializer.normal(block.qkv->weight, 0.0, 0.02);
      initializer.normal(block.up->weight, 0.0, 0.02);
      initializer.normal(block.attention_out->weight, 0.0, narrow);
      initializer.normal(block.down->weight, 0.0, narrow);
    }
    init_norm(*norm);
    initializer.normal(output->weight, 0.0, 0.02);
  }

  double flops_per_token(int64_t seq_len) const override {
    int64_t num_parameters = 0;
    for (const nn::Parameter* parameter : parameters()) num_parameters += parameter->get().numel();
    num_parameters -= tok_embeddings->weight.get().numel() + pos_embeddings->weight.get().numel();
    return 6.0 * static_cast<double>(num_parameters) +
           12.0 * static_cast<double>(sizes_.n_layers * sizes_.dim * seq_len);
  }

  nn::Child<nn::Embedding> tok_embeddings;
  nn::Child<nn::Embedding> pos_embeddings;
  nn::Child<nn::ModuleList<Block>> layers;
  nn::Child<LayerNorm> norm;
  nn::Child<nn::Linear> output;

 private:
  Sizes sizes_;
};

// 3. What the program asks of a family.

void check(const config::JobConfig& job, config::Problems& problems) {
  if (job.model.flavor != "tiny") {
    problems.add(fmt::format("model.flavor: expected tiny for parallel_gpt, got '{}'", job.model.flavor));
    return;
  }
  models::check_args_are_known(job, {"dim", "n_layers", "n_heads", "vocab_size", "max_seq_len", "norm_eps"}, problems);
  const Sizes sizes = sizes_of(job);
  if (sizes.n_heads < 1 || sizes.dim % sizes.n_heads != 0) {
    problems.add(fmt::format("model.args.n_heads: must divide model.args.dim ({}), got {}", sizes.dim, sizes.n_heads));
  }
  if (job.training.seq_len > sizes.max_seq_len) {
    problems.add(fmt::format("training.seq_len: parallel_gpt has {} positions, got {}; set model.args.max_seq_len",
                             sizes.max_seq_len, job.training.seq_len));
  }
  if (job.parallelism.pipeline_parallel_degree > 1) {
    problems.add("parallelism.pipeline_parallel_degree: parallel_gpt runs whole only; use 1");
  }
  if (job.parallelism.tensor_parallel_degree > 1) {
    problems.add("parallelism.tensor_parallel_degree: parallel_gpt has no sharding table; use 1");
  }
  if (job.parallelism.context_parallel_degree > 1) {
    problems.add("parallelism.context_parallel_degree: parallel_gpt has an attention of its own; use 1");
  }
}

std::string describe(const config::JobConfig& job) {
  const Sizes sizes = sizes_of(job);
  return fmt::format("dim {}, {} parallel layers, {} heads, {} positions, vocabulary {}", sizes.dim, sizes.n_layers,
                     sizes.n_heads, sizes.max_seq_len, sizes.vocab_size);
}

std::shared_ptr<models::LanguageModel> build(const config::JobConfig& job) {
  return std::make_shared<ParallelGpt>(sizes_of(job), nn::dtype_from(job.training.dtype));
}

std::vector<models::ModelSpec> specs() {
  return {{.name = "parallel_gpt",
           .flavors = [] { return std::vector<std::string>{"tiny"}; },
           .check = check,
           .describe = describe,
           .vocab_size = [](const config::JobConfig& job) { return sizes_of(job).vocab_size; },
           .build = build,
           .parallelize =
               [](std::shared_ptr<models::LanguageModel> model, const config::JobConfig& job,
                  const distributed::DeviceMesh& mesh, at::Device device) {
                 return models::parallelize({.whole = std::move(model), .build = build}, job, mesh, device);
               }}};
}

}  // namespace

// The one symbol that the program looks for.
const titan::models::Extension titan_extension{.models = specs};
