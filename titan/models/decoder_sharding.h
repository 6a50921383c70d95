// The tensor parallel plan of the dense decoder, as data: which dimension of each weight is spread over the axis, and
// what the activations between modules look like there.
#pragma once

#include <cstdint>
#include <vector>

#include "titan/parallel/tensor/module_sharding.h"

namespace titan::config {
struct JobConfig;
}

namespace titan::models {

struct ShardingOptions {
  bool sequence_parallel = true;  // between blocks, each rank has a part of the sequence, not the whole
  bool loss_parallel = true;      // the logits stay spread over the vocabulary
  bool asynchronous = false;      // products go on while parts of the sequence travel; needs sequence_parallel
};

ShardingOptions sharding_options_from(const config::JobConfig& job);

// Where the residual stream lies between blocks: spread over the sequence, or whole on every rank.
dtensor::Placement residual_placement(const ShardingOptions& options);

std::vector<parallel::ModuleSharding> decoder_sharding_plan(int64_t num_layers, const ShardingOptions& options);

}  // namespace titan::models
