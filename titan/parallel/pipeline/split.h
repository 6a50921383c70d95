// Which modules make up each stage of a pipeline, and a model cut down to one of them. Modules are told by their FQNs,
// which stay what they are in the whole model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "titan/nn/module.h"

namespace titan::pipeline {

// A model's modules by FQN, in the order of the forward. The first stage has the whole input, the last the whole
// output.
struct ModelModules {
  std::vector<std::string> input;
  std::vector<std::string> blocks;
  std::vector<std::string> output;
};

struct BalanceOptions {
  // What input and output cost, in blocks.
  int64_t first_stage_less_layers = 1;
  int64_t last_stage_less_layers = 1;
};

using StageModules = std::vector<std::vector<std::string>>;  // [stage]: FQNs

// As TorchTitan deals blocks out: input and output count as so many blocks, every stage gets its share of all, and the
// first ones one more where it does not come out even. A first or last stage whose share is less than its input or
// output costs has no block. Throws c10::ValueError if there are not enough blocks for every stage to have something.
StageModules balance_stages(const ModelModules& model, int64_t num_stages, const BalanceOptions& options = {});

// Throws c10::ValueError, one line that begins with `key`, unless `stages` has each of the model's modules once, in the
// order of the forward, and something for every stage.
void check_stages(const StageModules& stages, const ModelModules& model, const std::string& key);

// Takes all modules out of `model` but those named; lists of modules stay, with empty places.
void keep_only(nn::Module& model, const std::vector<std::string>& fqns);

}  // namespace titan::pipeline
