#include "titan/models/decoder_sharding.h"

#include <fmt/format.h>

#include "titan/config/job_config.h"

namespace titan::models {

using namespace titan::parallel;  // NOLINT(google-build-using-namespace): the styles, which this table is made of
using dtensor::replicate;
using dtensor::shard;

ShardingOptions sharding_options_from(const config::JobConfig& job) {
  return {.sequence_parallel = !job.parallelism.disable_sequence_parallel,
          .loss_parallel = !job.parallelism.disable_loss_parallel,
          .asynchronous = job.parallelism.enable_async_tensor_parallel};
}

dtensor::Placement residual_placement(const ShardingOptions& options) {
  return options.sequence_parallel ? shard(1) : replicate();
}

std::vector<ModuleSharding> decoder_sharding_plan(int64_t num_layers, const ShardingOptions& options) {
  const auto residual = residual_placement(options);
  // Hidden states for the output layer are whole, and their gradient is summed over ranks once, after all chunks of the
  // loss: terms until then.
  const auto terms = replicate_with_gradient_terms();
  // What multiplies a module's input as it is gathered, instead of afterwards.
  using Names = std::vector<std::string>;
  const auto meanwhile = [&](Names layers) { return options.asynchronous ? std::move(layers) : Names(); };
  const auto heads = shard(2);  // of [batch, seq, heads, head_dim]

  std::vector<ModuleSharding> plan;
  plan.push_back(vocabulary_parallel("tok_embeddings", residual));
  for (int64_t i = 0; i < num_layers; ++i) {
    const auto at = [&](const char* name) { return fmt::format("layers.{}.{}", i, name); };
    plan.push_back(sequence_parallel(at("attention_norm"), residual, residual));
    plan.push_back(prepare_module_input(at("attention"), residual, replicate(), meanwhile({"wq", "wk", "wv"})));
    plan.push_back(colwise_parallel(at("attention.wq")));  // heads
    plan.push_back(colwise_parallel(at("attention.wk")));
    plan.push_back(colwise_parallel(at("attention.wv")));
    // Each head by itself, with one weight for all: gradients of q_norm and k_norm are terms on each rank.
    plan.push_back(sequence_parallel(at("attention.q_norm"), heads, heads));
    plan.push_back(sequence_parallel(at("attention.k_norm"), heads, heads));
    plan.push_back(rowwise_parallel(at("attention.wo"), residual, options.asynchronous));
    plan.push_back(sequence_parallel(at("ffn_norm"), residual, residual));
    plan.push_back(prepare_module_input(at("feed_forward"), residual, replicate(), meanwhile({"w1", "w3"})));
    plan.push_back(colwise_parallel(at("feed_forward.w1")));  // hidden features
    plan.push_back(colwise_parallel(at("feed_forward.w3")));
    plan.push_back(rowwise_parallel(at("feed_forward.w2"), residual, options.asynchronous));
  }
  plan.push_back(sequence_parallel("norm", residual, terms));
  plan.push_back(colwise_parallel("output", terms, options.loss_parallel ? shard(-1) : replicate(),
                                  /*output_is_local=*/!options.loss_parallel));
  return plan;
}

}  // namespace titan::models
