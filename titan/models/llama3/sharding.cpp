#include "titan/models/llama3/sharding.h"

#include <fmt/format.h>

namespace titan::models::llama3 {

using namespace titan::parallel;  // NOLINT(google-build-using-namespace): the styles, which this table is made of
using dtensor::partial;
using dtensor::replicate;
using dtensor::shard;

std::vector<ModuleSharding> sharding_plan(int64_t num_layers, const ShardingOptions& options) {
  // The residual stream: spread over the sequence, or whole on every rank.
  const auto residual = options.sequence_parallel ? shard(1) : replicate();
  // Hidden states for the output layer are whole, and their gradient is summed over ranks once, after all chunks of the
  // loss: terms until then.
  const auto terms = partial();

  std::vector<ModuleSharding> plan;
  plan.push_back(vocabulary_parallel("tok_embeddings", residual));
  for (int64_t i = 0; i < num_layers; ++i) {
    const auto at = [&](const char* name) { return fmt::format("layers.{}.{}", i, name); };
    plan.push_back(sequence_parallel(at("attention_norm"), residual, residual));
    plan.push_back(prepare_module_input(at("attention"), residual, replicate()));
    plan.push_back(colwise_parallel(at("attention.wq")));  // heads
    plan.push_back(colwise_parallel(at("attention.wk")));
    plan.push_back(colwise_parallel(at("attention.wv")));
    plan.push_back(rowwise_parallel(at("attention.wo"), residual));
    plan.push_back(sequence_parallel(at("ffn_norm"), residual, residual));
    plan.push_back(prepare_module_input(at("feed_forward"), residual, replicate()));
    plan.push_back(colwise_parallel(at("feed_forward.w1")));  // hidden features
    plan.push_back(colwise_parallel(at("feed_forward.w3")));
    plan.push_back(rowwise_parallel(at("feed_forward.w2"), residual));
  }
  plan.push_back(sequence_parallel("norm", residual, terms));
  plan.push_back(colwise_parallel("output", terms, options.loss_parallel ? shard(-1) : replicate(),
                                  /*output_is_local=*/!options.loss_parallel));
  return plan;
}

}  // namespace titan::models::llama3
