#include "titan/checkpoint/load_plan.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "tests/unit/checkpoint/expect_refused.h"
#include "titan/checkpoint/safetensors_writer.h"

namespace titan::checkpoint {
namespace {

class TensorsInMemory : public TensorReader {
 public:
  explicit TensorsInMemory(std::map<std::string, at::Tensor> tensors) : tensors_(std::move(tensors)) {
    for (const auto& [name, tensor] : tensors_) infos_.emplace(name, info_of(tensor));
  }
  const std::map<std::string, TensorInfo>& tensors() const override { return infos_; }
  at::Tensor read(const std::string& name) const override { return tensors_.at(name); }

 private:
  std::map<std::string, at::Tensor> tensors_;
  std::map<std::string, TensorInfo> infos_;
};

at::Tensor numbers(at::IntArrayRef shape, at::ScalarType dtype = at::kFloat) {
  return at::arange(c10::multiply_integers(shape), dtype).view(shape);
}

// "x" is "hf.x" there, with twice the values; "tied" has no tensor of its own.
ForeignFormat doubled_format() {
  return {.to_fqn = [](std::string_view name) -> std::optional<std::string> {
            if (name == "hf.tied") return std::nullopt;
            return std::string(name.starts_with("hf.") ? name.substr(3) : name);
          },
          .to_name = [](std::string_view fqn) -> std::optional<std::string> {
            if (fqn == "tied") return std::nullopt;
            return "hf." + std::string(fqn);
          },
          .from_foreign = [](std::string_view, const at::Tensor& t) { return t.div(2); },
          .to_foreign = [](std::string_view, const at::Tensor& t) { return t.mul(2); },
          .config_json = [](at::ScalarType) { return std::string("{}"); }};
}

TEST(LoadPlan, CopiesInPlaceAndKeepsGradientsOut) {
  LoadPlan::Tensors tensors = {{"a", at::zeros({2, 3}).set_requires_grad(true)}};
  const auto* const address = tensors.at("a").const_data_ptr();
  const TensorsInMemory stored({{"a", numbers({2, 3})}});
  LoadPlan plan;
  plan.add_exact("", tensors, stored);
  plan.check("x");
  plan.run();
  EXPECT_TRUE(at::equal(tensors.at("a"), numbers({2, 3})));
  EXPECT_EQ(tensors.at("a").const_data_ptr(), address);
  EXPECT_TRUE(tensors.at("a").is_leaf());
}

TEST(LoadPlan, TellsEverythingThatDoesNotFitAtOnce) {
  const LoadPlan::Tensors tensors = {
      {"dtype", at::zeros({2})}, {"fits", at::zeros({2})}, {"missing", at::zeros({2})}, {"shape", at::zeros({2, 3})}};
  const TensorsInMemory stored({{"dtype", numbers({2}, at::kBFloat16)},
                                {"fits", numbers({2})},
                                {"shape", numbers({3, 2})},
                                {"surplus", numbers({1})}});
  LoadPlan plan;
  plan.add_exact("", tensors, stored);
  plan.add_unexpected(stored, [&](const std::string& name) { return tensors.contains(name); });
  expect_refused([&] { plan.check("step-3"); },
                 "step-3: does not fit this run: missing (1): missing; unexpected (1): surplus; of another shape or "
                 "dtype (2): dtype (expected float32 [2], got bfloat16 [2]), shape (expected float32 [2, 3], got "
                 "float32 [3, 2])");
  EXPECT_TRUE(at::equal(tensors.at("fits"), at::zeros({2})));  // nothing was written
}

TEST(LoadPlan, ShortensLongLists) {
  LoadPlan::Tensors tensors;
  for (int i = 0; i < 20; ++i) tensors.emplace(std::to_string(i), at::zeros({1}));
  LoadPlan plan;
  const TensorsInMemory nothing({});
  plan.add_exact("", tensors, nothing);
  expect_refused([&] { plan.check("x"); }, "and 12 more");
}

TEST(LoadPlan, InitialLoadConvertsDtypes) {
  const LoadPlan::Tensors tensors = {{"a", at::zeros({4})}};
  const TensorsInMemory stored({{"a", numbers({4}, at::kBFloat16)}});
  LoadPlan plan;
  EXPECT_FALSE(plan.add_model(tensors, stored, nullptr));
  plan.check("x");
  plan.run();
  EXPECT_TRUE(at::equal(tensors.at("a"), numbers({4})));
}

// A full checkpoint of TorchTitan's holds the model's tensors beside the other parts'.
TEST(LoadPlan, InitialLoadTakesTheModelOutOfAFullCheckpoint) {
  const LoadPlan::Tensors tensors = {{"a", at::zeros({4})}};
  const TensorsInMemory stored(
      {{"a", numbers({4})}, {"optimizer.state.a.exp_avg", numbers({4})}, {"train_state.step", numbers({1})}});
  LoadPlan plan;
  plan.add_model(tensors, stored, nullptr);
  plan.check("x");
}

TEST(LoadPlan, TellsForeignNamesByThemselves) {
  const auto format = doubled_format();
  const LoadPlan::Tensors tensors = {{"a", at::zeros({4})}};
  const TensorsInMemory foreign({{"hf.a", numbers({4}).mul(2)}});
  LoadPlan plan;
  EXPECT_TRUE(plan.add_model(tensors, foreign, &format));
  plan.check("x");
  plan.run();
  EXPECT_TRUE(at::equal(tensors.at("a"), numbers({4})));

  LoadPlan own;
  EXPECT_FALSE(own.add_model(tensors, TensorsInMemory({{"a", numbers({4})}}), &format));
  own.check("x");

  LoadPlan surplus;
  surplus.add_model(tensors, TensorsInMemory({{"hf.a", numbers({4})}, {"hf.b", numbers({4})}}), &format);
  expect_refused([&] { surplus.check("x"); }, "unexpected (1): hf.b");

  LoadPlan neither;
  neither.add_model(tensors, TensorsInMemory({{"z", numbers({4})}}), &format);
  expect_refused([&] { neither.check("x"); }, "missing (1): a; unexpected (1): z");
}

// The second name of a tied weight may be there or not, on either side, under either convention.
TEST(LoadPlan, TiedWeightsLoadUnderOneNameOrTwo) {
  const auto format = doubled_format();
  for (const bool run_has_both : {false, true}) {
    for (const bool file_has_both : {false, true}) {
      for (const std::string prefix : {"", "hf."}) {
        LoadPlan::Tensors tensors = {{"a", at::zeros({4})}};
        if (run_has_both) tensors.emplace("tied", tensors.at("a"));
        std::map<std::string, at::Tensor> file = {{prefix + "a", numbers({4})}};
        if (file_has_both) file.emplace(prefix + "tied", numbers({4}));
        const TensorsInMemory stored(file);
        LoadPlan plan;
        plan.add_model(tensors, stored, &format);
        plan.check("x");
        plan.run();
        EXPECT_TRUE(at::equal(tensors.at("a"), numbers({4}).div(prefix.empty() ? 1 : 2)));
      }
    }
  }
}

}  // namespace
}  // namespace titan::checkpoint
