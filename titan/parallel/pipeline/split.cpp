#include "titan/parallel/pipeline/split.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>

namespace titan::pipeline {
namespace {

// How many of `total` things each of `count` gets: the first ones one more where it does not come out even.
std::vector<int64_t> deal(int64_t total, int64_t count) {
  std::vector<int64_t> shares(static_cast<size_t>(count), total / count);
  for (int64_t i = 0; i < total % count; ++i) ++shares[static_cast<size_t>(i)];
  return shares;
}

// Blocks of each stage. `first` and `last`: what the ends cost; a stage whose share is less has no block.
std::vector<int64_t> blocks_by_stage(int64_t num_blocks, int64_t num_stages, int64_t first, int64_t last) {
  if (num_stages < 1) return {};
  std::vector<int64_t> shares = deal(num_blocks + first + last, num_stages);
  if (num_stages == 1) return {num_blocks};
  if (shares.front() < first) {
    std::vector<int64_t> others = blocks_by_stage(num_blocks, num_stages - 1, 0, last);
    others.insert(others.begin(), 0);
    return others;
  }
  if (shares.back() < last) {
    std::vector<int64_t> others = blocks_by_stage(num_blocks, num_stages - 1, first, 0);
    others.push_back(0);
    return others;
  }
  shares.front() -= first;
  shares.back() -= last;
  return shares;
}

std::vector<std::string> in_order(const ModelModules& model) {
  std::vector<std::string> all = model.input;
  all.insert(all.end(), model.blocks.begin(), model.blocks.end());
  all.insert(all.end(), model.output.begin(), model.output.end());
  return all;
}

// Its children are named "0", "1", ...
bool is_list(const nn::Module& module) {
  const auto& children = module.children();
  return !children.empty() && std::all_of(children.begin(), children.end(), [](const nn::ChildSlot* child) {
    return std::all_of(child->name().begin(), child->name().end(), [](unsigned char c) { return std::isdigit(c); });
  });
}

}  // namespace

StageModules balance_stages(const ModelModules& model, int64_t num_stages, const BalanceOptions& options) {
  const auto num_blocks = static_cast<int64_t>(model.blocks.size());
  const int64_t first = options.first_stage_less_layers, last = options.last_stage_less_layers;
  const std::vector<int64_t> blocks = blocks_by_stage(num_blocks, num_stages, first, last);
  const bool all_have_some =
      num_stages <= num_blocks + first + last &&
      (num_stages <= 2 || std::all_of(blocks.begin() + 1, blocks.end() - 1, [](int64_t share) { return share > 0; }));
  TORCH_CHECK_VALUE(all_have_some,
                    fmt::format("parallelism.pipeline_parallel_degree: {} stages are more than {} layers + "
                                "pipeline_parallel_first_stage_less_layers ({}) + "
                                "pipeline_parallel_last_stage_less_layers ({}) can fill; use fewer stages",
                                num_stages, num_blocks, first, last));
  StageModules stages(static_cast<size_t>(num_stages));
  stages.front() = model.input;
  auto next = model.blocks.begin();
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    stages[stage].insert(stages[stage].end(), next, next + blocks[stage]);
    next += blocks[stage];
  }
  stages.back().insert(stages.back().end(), model.output.begin(), model.output.end());
  return stages;
}

void check_stages(const StageModules& stages, const ModelModules& model, const std::string& key) {
  const std::vector<std::string> expected = in_order(model);
  std::map<std::string, size_t> stage_of;
  auto last = expected.begin();
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    TORCH_CHECK_VALUE(!stages[stage].empty(), key, ": stage ", stage, " has no module; give it one, or leave it out");
    for (const std::string& name : stages[stage]) {
      const auto position = std::find(expected.begin(), expected.end(), name);
      TORCH_CHECK_VALUE(position != expected.end(), key, ": stage ", stage, ": the model has no module '", name,
                        "' to put into a stage; it has ", fmt::format("{} to {}", expected.front(), expected.back()));
      const auto [known, is_new] = stage_of.try_emplace(name, stage);
      TORCH_CHECK_VALUE(is_new, key, ": ", name, " is in stage ", known->second, " and in stage ", stage);
      TORCH_CHECK_VALUE(position >= last, key, ": ", name, " comes after ", *last,
                        "; list modules in the order of the forward");
      last = position;
    }
  }
  for (const std::string& name : expected) {
    TORCH_CHECK_VALUE(stage_of.contains(name), key, ": ", name, " is in no stage; every module needs one");
  }
  for (const std::string& name : model.input) {
    TORCH_CHECK_VALUE(stage_of.at(name) == 0, key, ": ", name, " must be in the first stage");
  }
  for (const std::string& name : model.output) {
    TORCH_CHECK_VALUE(stage_of.at(name) + 1 == stages.size(), key, ": ", name, " must be in the last stage");
  }
}

void keep_only(nn::Module& model, const std::vector<std::string>& fqns) {
  for (nn::ChildSlot* child : model.children()) {
    nn::Module* const module = child->module();
    if (module == nullptr || std::find(fqns.begin(), fqns.end(), module->fqn()) != fqns.end()) continue;
    if (is_list(*module)) {
      keep_only(*module, fqns);
    } else {
      child->replace(nullptr);
    }
  }
}

}  // namespace titan::pipeline
