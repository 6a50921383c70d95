#include "titan/parallel/pipeline/split.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "titan/nn/linear.h"

namespace titan::pipeline {
namespace {

ModelModules model_of(int64_t num_layers) {
  ModelModules model{.input = {"embed"}, .output = {"norm", "output"}};
  for (int64_t i = 0; i < num_layers; ++i) model.blocks.push_back(fmt::format("layers.{}", i));
  return model;
}

// How many blocks each stage has.
std::vector<int64_t> blocks(int64_t num_layers, int64_t num_stages, const BalanceOptions& options = {}) {
  const ModelModules model = model_of(num_layers);
  const StageModules stages = balance_stages(model, num_stages, options);
  check_stages(stages, model, "stages");
  std::vector<int64_t> counts;
  for (const auto& stage : stages) counts.push_back(static_cast<int64_t>(stage.size()));
  counts.front() -= 1;
  counts.back() -= 2;
  return counts;
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const c10::ValueError& error) {
    return error.msg();
  }
  return "no error";
}

using Counts = std::vector<int64_t>;

TEST(BalanceStages, DealsAsTorchTitan) {
  EXPECT_EQ(blocks(4, 2), (Counts{2, 2}));
  EXPECT_EQ(blocks(5, 2), (Counts{3, 2}));
  EXPECT_EQ(blocks(32, 4), (Counts{8, 9, 8, 7}));
  EXPECT_EQ(blocks(6, 4, {0, 0}), (Counts{2, 2, 1, 1}));
  EXPECT_EQ(blocks(8, 4, {2, 2}), (Counts{1, 3, 3, 1}));
  EXPECT_EQ(blocks(3, 1), (Counts{3}));
}

TEST(BalanceStages, AStageMayHaveTheOutputOrTheInputAlone) {
  EXPECT_EQ(blocks(3, 4), (Counts{1, 1, 1, 0}));
  EXPECT_EQ(blocks(2, 4), (Counts{0, 1, 1, 0}));
  EXPECT_EQ(blocks(6, 3, {5, 1}), (Counts{0, 4, 2}));
  EXPECT_EQ(blocks(6, 3, {1, 5}), (Counts{3, 3, 0}));
}

TEST(BalanceStages, MoreStagesThanThereIsSomethingForAreRefused) {
  EXPECT_EQ(error_of([] { blocks(3, 6); }),
            "parallelism.pipeline_parallel_degree: 6 stages are more than 3 layers + "
            "pipeline_parallel_first_stage_less_layers (1) + pipeline_parallel_last_stage_less_layers (1) can fill; "
            "use fewer stages");
  EXPECT_NE(error_of([] { blocks(1, 5, {5, 1}); }), "no error");
}

TEST(CheckStages, SaysWhatIsWrong) {
  const auto error = [](const StageModules& stages) {
    return error_of([&] { check_stages(stages, model_of(2), "key"); });
  };
  EXPECT_EQ(error({{"embed", "layers.0"}, {"layers.1", "norm", "output"}}), "no error");
  EXPECT_EQ(error({{"embed", "layers.0", "layers.1"}, {"norm", "output"}}), "no error");
  EXPECT_EQ(error({{"embed", "layers.0", "layers.1"}, {}, {"norm", "output"}}),
            "key: stage 1 has no module; give it one, or leave it out");
  EXPECT_EQ(error({{"embed", "layers.0", "layers.2"}, {"norm", "output"}}),
            "key: stage 0: the model has no module 'layers.2' to put into a stage; it has embed to output");
  EXPECT_EQ(error({{"embed", "layers.0"}, {"layers.0", "layers.1", "norm", "output"}}),
            "key: layers.0 is in stage 0 and in stage 1");
  EXPECT_EQ(error({{"embed", "layers.1"}, {"layers.0", "norm", "output"}}),
            "key: layers.0 comes after layers.1; list modules in the order of the forward");
  EXPECT_EQ(error({{"embed", "layers.0"}, {"norm", "output"}}), "key: layers.1 is in no stage; every module needs one");
  EXPECT_EQ(error({{"embed", "layers.0", "layers.1", "norm"}, {"output"}}), "key: norm must be in the last stage");
}

struct Model : nn::Module {
  static std::shared_ptr<nn::Linear> linear() { return std::make_shared<nn::Linear>(2, 2, at::kFloat); }
  static std::shared_ptr<nn::ModuleList<nn::Linear>> list() {
    auto layers = std::make_shared<nn::ModuleList<nn::Linear>>();
    for (int i = 0; i < 3; ++i) layers->append(linear());
    return layers;
  }
  nn::Child<nn::Linear> embed{this, "embed", linear()};
  nn::Child<nn::ModuleList<nn::Linear>> layers{this, "layers", list()};
  nn::Child<nn::Linear> output{this, "output", linear()};
};

TEST(KeepOnly, LeavesNamesAsTheyAre) {
  Model model;
  keep_only(model, {"layers.1", "output"});
  EXPECT_FALSE(model.embed);
  EXPECT_FALSE((*model.layers)[0]);
  std::vector<std::string> names;
  for (const nn::Parameter* parameter : model.parameters()) names.push_back(parameter->fqn());
  EXPECT_EQ(names, (std::vector<std::string>{"layers.1.weight", "output.weight"}));
}

}  // namespace
}  // namespace titan::pipeline
