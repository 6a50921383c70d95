// Modes over plain tensors, in one another and around DTensors; and the tables of rules.
#include "titan/dtensor/interposition.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/linear.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/tensors.h"
#include "titan/dtensor/counting_mode.h"
#include "titan/dtensor/dtensor.h"
#include "titan/dtensor/operator_list.h"
#include "titan/dtensor/rule.h"

namespace titan::dtensor {
namespace {

TEST(CountingMode, SeesForwardAndBackwardOfPlainTensors) {
  const at::Tensor x = test::random({2, 3}, 1), w = test::random({4, 3}, 2).set_requires_grad(true);
  CountingMode counter;
  {
    const ModeGuard guard(counter);
    at::linear(x, w).sum().backward();
  }
  EXPECT_EQ(counter.counts().at("aten::mm"), 2);
  EXPECT_EQ(counter.counts().at("aten::sum"), 1);
  const auto before = counter.counts();
  at::linear(x, w);
  EXPECT_EQ(counter.counts(), before);
  EXPECT_TRUE(w.grad().defined());
}

struct Recorder : Mode {
  Recorder(std::string name, std::vector<std::string>& seen) : name(std::move(name)), seen(seen) {}
  void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack& stack) override {
    seen.push_back(name + " " + op.operator_name().name);
    proceed(op, keys, stack);
  }
  std::string name;
  std::vector<std::string>& seen;
};

TEST(Mode, TheInnermostSeesACallFirst) {
  const at::NoGradGuard no_grad;
  std::vector<std::string> seen;
  Recorder outer("outer", seen), inner("inner", seen);
  const at::Tensor x = test::random({2}, 1);
  const ModeGuard outer_guard(outer);
  const ModeGuard inner_guard(inner);
  x.exp();
  {
    const WithoutModes unseen;
    x.exp();
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"inner aten::exp", "outer aten::exp"}));
}

TEST(Mode, WhatItCallsItselfIsForTheOthers) {
  const at::NoGradGuard no_grad;
  std::vector<std::string> seen;
  Recorder outer("outer", seen);
  struct Doubling : Mode {
    void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack& stack) override {
      proceed(op, keys, stack);
      stack.back() = stack.back().toTensor() * 2;
    }
  } inner;
  const at::Tensor x = test::random({2}, 1);
  at::Tensor y;
  {
    const ModeGuard outer_guard(outer);
    const ModeGuard inner_guard(inner);
    y = x.neg();
  }
  EXPECT_TRUE(at::equal(y, x * -2));
  EXPECT_EQ(seen, (std::vector<std::string>{"outer aten::neg", "outer aten::mul"}));
}

TEST(Mode, ThrowingLeavesNothingBehind) {
  struct Failing : Mode {
    void call(const c10::OperatorHandle&, c10::DispatchKeySet, torch::jit::Stack&) override {
      TORCH_CHECK(false, "as asked");
    }
  } failing;
  const at::Tensor x = test::random({2}, 1);
  {
    const ModeGuard guard(failing);
    EXPECT_THROW(x.exp(), c10::Error);
    EXPECT_THROW(x.exp(), c10::Error);
  }
  EXPECT_TRUE(x.exp().defined());
}

Mesh mesh_of_one() {
  return Mesh(distributed::DeviceMesh(
      std::make_shared<distributed::World>(distributed::RankInfo{}, distributed::WorldOptions{}), {{"dp", 1}}));
}

TEST(Mode, SeesDTensorsAndTheirPartsIfItAsks) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = from_local(test::random({2, 3}, 1), mesh_of_one(), {shard(0)});
  CountingMode whole, parts(/*sees_local=*/true);
  {
    const ModeGuard whole_guard(whole);
    const ModeGuard parts_guard(parts);
    EXPECT_TRUE(is_dtensor(x.exp()));
  }
  EXPECT_EQ(whole.counts().at("aten::exp"), 1);
  EXPECT_EQ(parts.counts().at("aten::exp"), 2);
}

// --- the tables ---

TEST(Rules, AreOfOperatorsThatExist) {
  for (const auto& [op, entry] : rule_table().entries()) {
    if (op.starts_with("titan::")) continue;  // registered with the kernels
    const size_t dot = op.find('.');
    EXPECT_TRUE(c10::Dispatcher::singleton()
                    .findSchema({op.substr(0, dot), dot == std::string::npos ? "" : op.substr(dot + 1)})
                    .has_value())
        << op;
  }
}

TEST(Rules, PageInDocsIsUpToDate) {
  std::ifstream file(std::string(TITAN_SOURCE_DIR) + "/docs/dtensor_ops.md");
  const std::string page((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_EQ(page, operator_list()) << "run: build/tests/unit/dtensor/list_operators > docs/dtensor_ops.md";
}

}  // namespace
}  // namespace titan::dtensor
