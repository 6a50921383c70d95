#include "titan/verify/report.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/tensors.h"
#include "tests/support/tiny_job.h"

namespace titan::verify {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Comparison reference() {
  return {.free_losses = {8.0, 7.0},
          .free_grad_norms = {1.0, 2.0},
          .steps = {{.loss = 8.0, .grad_norm = 1.0}, {.loss = 7.0, .grad_norm = 2.0}}};
}

// A rank that is `off` from the reference in everything that is not named.
Comparison rank(double off) {
  Comparison comparison = reference();
  comparison.initial_parameters = {{"a.weight", 0.0}, {"b.weight", 0.0}};
  for (StepComparison& step : comparison.steps) {
    step.loss *= 1 + off;
    step.grad_norm *= 1 + off;
    step.gradients = {{"a.weight", off}, {"b.weight", off}};
    step.parameters = {{"a.weight", off}, {"b.weight", off}};
    step.all_gradients = step.all_parameters = off;
  }
  for (double& loss : comparison.free_losses) loss *= 1 + off;
  return comparison;
}

Layout layout(const std::string& text) {
  config::Problems problems;
  return parse_layouts(text, problems).front();
}

TEST(Judge, DataParallelismMayBeOneMillionthOff) {
  EXPECT_TRUE(judge(layout("dp_replicate=2"), {rank(9e-7), rank(0)}, reference(), nullptr).holds);
  EXPECT_FALSE(judge(layout("dp_replicate=2"), {rank(2e-6), rank(0)}, reference(), nullptr).holds);
  EXPECT_FALSE(judge(layout("dp_replicate=2"), {rank(0), rank(2e-6)}, reference(), nullptr).holds);
}

TEST(Judge, TensorParallelismMayBeTenMillionthsOff) {
  EXPECT_TRUE(judge(layout("tp=2"), {rank(9e-6), rank(0)}, reference(), nullptr).holds);
  EXPECT_FALSE(judge(layout("tp=2"), {rank(2e-5), rank(0)}, reference(), nullptr).holds);
}

// Only of the tensor that has it, and not for gradients.
TEST(Judge, ParametersHaveAdamsSlack) {
  Comparison slack = rank(0);
  slack.steps[1].parameter_slack = {{"b.weight", 4e-6}};
  slack.steps[1].parameters["b.weight"] = 4.9e-6;
  EXPECT_TRUE(judge(layout("dp_replicate=2"), {slack, rank(0)}, reference(), nullptr).holds);
  slack.steps[1].parameters["b.weight"] = 5.1e-6;
  EXPECT_FALSE(judge(layout("dp_replicate=2"), {slack, rank(0)}, reference(), nullptr).holds);
  slack.steps[1].parameters = {{"a.weight", 2e-6}, {"b.weight", 0.0}};
  EXPECT_FALSE(judge(layout("dp_replicate=2"), {slack, rank(0)}, reference(), nullptr).holds);
  slack.steps[1].parameters = {};
  slack.steps[1].gradients["b.weight"] = 2e-6;
  EXPECT_FALSE(judge(layout("dp_replicate=2"), {slack, rank(0)}, reference(), nullptr).holds);
}

// Elements of 1, eps and 0 that are eps, eps and 1 apart; the last is turned as far as can be.
TEST(AdamSlack, IsWhatTheDivisionMakesOfADifference) {
  const at::Tensor reference = at::tensor({1.0, 1e-8, 0.0}, at::kDouble);
  const at::Tensor gradient = reference + at::tensor({1e-8, 1e-8, -1.0}, at::kDouble);
  const Differences slack =
      adam_slack({{"a", gradient}}, {{"a", reference}}, {{"a", at::tensor({3.0, 0.0, 4.0}, at::kDouble)}}, 0.1, 1e-8);
  EXPECT_NEAR(slack.at("a"), 0.1 * std::sqrt(1e-16 + 0.25 + 4.0) / 5.0, 1e-9);
  EXPECT_EQ(adam_slack({{"a", reference}}, {{"a", reference}}, {{"a", reference}}, 0.1, 1e-8).at("a"), 0);
}

TEST(Judge, OneDeviceMustBeBitEqual) {
  EXPECT_TRUE(judge(layout("ac=full"), {rank(0)}, reference(), nullptr).holds);
  EXPECT_FALSE(judge(layout("ac=full"), {rank(1e-9)}, reference(), nullptr).holds);
}

TEST(Judge, NamesWhatPartsFirst) {
  Comparison bad = rank(0);
  bad.steps[1].gradients["b.weight"] = 0.5;
  bad.steps[1].parameters["a.weight"] = 0.9;
  const Verdict verdict = judge(layout("dp_replicate=2"), {rank(0), bad}, reference(), nullptr);
  EXPECT_EQ(verdict.first_parting, "gradients b.weight, step 2 on rank 1 is 5.0e-01 off, 1.0e-06 allowed");
}

TEST(Judge, OtherInitialWeightsAreNeverRight) {
  Comparison bad = rank(0);
  bad.initial_parameters["b.weight"] = 1e-9;
  const Verdict verdict = judge(layout("tp=2"), {bad, rank(0)}, reference(), nullptr);
  EXPECT_EQ(verdict.first_parting.rfind("initial parameters b.weight on rank 0", 0), 0u) << verdict.first_parting;
}

TEST(Judge, FreeRunsCountToo) {
  Comparison bad = rank(0);
  bad.free_losses[1] = 7.001;
  EXPECT_NE(
      judge(layout("dp_replicate=2"), {rank(0), bad}, reference(), nullptr).first_parting.find("free losses step 2"),
      std::string::npos);
}

TEST(Judge, NothingIsRightAboutNan) {
  Comparison bad = rank(0);
  bad.steps[0].gradients["a.weight"] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(judge(layout("dp_replicate=2"), {rank(0), bad}, reference(), nullptr).holds);
}

// bf16 rounds: what counts is how far bf16 on one device is from fp32.
TEST(Judge, Bf16MayBeHalfAsFarAgainAsOnOneDevice) {
  const Comparison baseline = rank(1e-3);
  EXPECT_TRUE(judge(layout("dp_replicate=2, dtype=bf16"), {rank(1.4e-3), rank(1e-4)}, reference(), &baseline).holds);
  EXPECT_FALSE(judge(layout("dp_replicate=2, dtype=bf16"), {rank(1.6e-3), rank(0)}, reference(), &baseline).holds);
}

TEST(Compare, IsRelativePerTensor) {
  const at::Tensor a = test::random({3, 5}, 1);
  const Differences found =
      compare({{"same", a}, {"scaled", a * 1.5}, {"zero", at::zeros({2})}, {"grown", at::ones({2})}},
              {{"same", a}, {"scaled", a}, {"zero", at::zeros({2})}, {"grown", at::zeros({2})}});
  EXPECT_EQ(found.at("same"), 0);
  EXPECT_NEAR(found.at("scaled"), 0.5, 1e-6);
  EXPECT_EQ(found.at("zero"), 0);
  EXPECT_EQ(found.at("grown"), kInfinity);
}

TEST(Compare, MissingAndMisshapedTensorsAreInfinitelyFar) {
  const Differences found = compare({{"extra", at::ones({1})}, {"misshaped", at::ones({2})}},
                                    {{"missing", at::ones({1})}, {"misshaped", at::ones({1, 2})}});
  EXPECT_EQ(found.at("extra"), kInfinity);
  EXPECT_EQ(found.at("missing"), kInfinity);
  EXPECT_EQ(found.at("misshaped"), kInfinity);
}

TEST(Record, ComparisonsReadBack) {
  const test::OutputFolder folder;
  Comparison written = rank(1e-3);
  written.steps[0].gradients["a.weight"] = kInfinity;
  written.free_losses[0] = std::numeric_limits<double>::quiet_NaN();
  save_comparison(folder.path() / "rank0.json", written);
  const Comparison read = read_comparison(folder.path() / "rank0.json");
  ASSERT_EQ(read.steps.size(), 2u);
  EXPECT_EQ(read.steps[1].gradients, written.steps[1].gradients);
  EXPECT_EQ(read.steps[1].loss, written.steps[1].loss);
  EXPECT_EQ(read.steps[0].gradients.at("a.weight"), kInfinity);
  EXPECT_EQ(read.free_losses[0], kInfinity);
  EXPECT_EQ(read.initial_parameters, written.initial_parameters);
}

TEST(Record, StatesReadBack) {
  const test::OutputFolder folder;
  const checkpoint::TrainState written{.model = {{"a", test::random({3}, 1)}},
                                       .optimizer = {{"state.a.step", at::full({}, 4.0)}},
                                       .counters = {{"train_state.step", 4}}};
  save_state(folder.path(), 4, written);
  checkpoint::TrainState read{.model = {{"a", at::zeros({3})}}, .optimizer = {{"state.a.step", at::zeros({})}}};
  load_state(folder.path(), 4, read);
  EXPECT_TRUE(at::equal(read.model.at("a"), written.model.at("a")));
  EXPECT_EQ(read.optimizer.at("state.a.step").item<double>(), 4.0);
  EXPECT_EQ(read.counters, written.counters);
  EXPECT_TRUE(at::equal(read_model(folder.path(), 4).at("a"), written.model.at("a")));
}

}  // namespace
}  // namespace titan::verify
