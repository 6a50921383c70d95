#include "titan/nn/module.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"
#include "titan/nn/linear.h"

namespace titan::nn {
namespace {

// y = weight * x, elementwise.
class Scale : public Callable<Scale> {
 public:
  Scale() : weight(this, "weight", {3}, at::kFloat) {}
  at::Tensor forward(const at::Tensor& x) { return weight.get() * x; }
  Parameter weight;
};

class Pair : public Callable<Pair> {
 public:
  Pair() : first(this, "first", std::make_shared<Scale>()), second(this, "second", std::make_shared<Scale>()) {}
  at::Tensor forward(const at::Tensor& x) { return second(first(x)); }
  Child<Scale> first, second;
};

std::shared_ptr<Pair> make_pair(double first, double second) {
  auto pair = std::make_shared<Pair>();
  pair->to_empty(at::kCPU);
  at::NoGradGuard no_grad;
  pair->first->weight.get().fill_(first);
  pair->second->weight.get().fill_(second);
  return pair;
}

std::vector<std::string> fqns(const Module& module, bool with_tied = false) {
  std::vector<std::string> names;
  for (const Parameter* parameter : module.parameters(with_tied)) names.push_back(parameter->fqn());
  return names;
}

TEST(Module, HooksRunInTheOrderOfTheContract) {
  const auto pair = make_pair(2, 3);
  std::vector<std::string> events;
  const auto note = [&](const std::string& event) { return [&events, event](auto&&...) { events.push_back(event); }; };
  pair->first->register_forward_hook(note("post 1"));
  pair->first->register_forward_pre_hook(note("pre 1"));
  pair->first->register_forward_pre_hook(note("pre 2"));
  pair->first->register_forward_hook(note("post 2"));
  pair->first->register_use_hooks(note("begin 1"), note("end 1"));
  pair->first->register_use_hooks(note("begin 2"), note("end 2"));
  (*pair)(at::ones({3}));
  EXPECT_EQ(events,
            (std::vector<std::string>{"begin 1", "begin 2", "pre 1", "pre 2", "post 1", "post 2", "end 2", "end 1"}));
}

TEST(Module, HooksReplaceInputsAndOutput) {
  const auto pair = make_pair(2, 3);
  pair->first->register_forward_pre_hook([](Module&, Inputs inputs) { *inputs[0] = *inputs[0] + 1; });
  pair->first->register_forward_hook([](Module&, Inputs, at::Tensor& output) { output = output * 10; });
  const at::Tensor y = (*pair)(at::ones({3}));
  EXPECT_TRUE(at::equal(y, at::full({3}, 2.0 * 2 * 10 * 3)));
}

TEST(Module, RemovedHookNoLongerRuns) {
  const auto pair = make_pair(2, 3);
  int calls = 0;
  const HookId id = pair->register_forward_pre_hook([&](Module&, Inputs) { ++calls; });
  (*pair)(at::ones({3}));
  pair->remove_hook(id);
  (*pair)(at::ones({3}));
  EXPECT_EQ(calls, 1);
}

TEST(Module, SeriesOfCallsIsOneUse) {
  const auto pair = make_pair(2, 3);
  int begins = 0, ends = 0, calls = 0;
  pair->register_use_hooks([&](Module&) { ++begins; }, [&](Module&) { ++ends; });
  pair->register_forward_pre_hook([&](Module&, Inputs) { ++calls; });
  {
    CallSeries use(*pair);
    for (int i = 0; i < 3; ++i) (*pair)(at::ones({3}));
    EXPECT_EQ(ends, 0);
  }
  EXPECT_EQ(begins, 1);
  EXPECT_EQ(ends, 1);
  EXPECT_EQ(calls, 3);
}

TEST(Module, UseEndsWhenForwardThrows) {
  const auto pair = make_pair(2, 3);
  int ends = 0;
  pair->register_use_hooks([](Module&) {}, [&](Module&) { ++ends; });
  EXPECT_THROW((*pair)(at::ones({4})), c10::Error);
  EXPECT_EQ(ends, 1);
}

TEST(Module, ParametersAreReadThroughTheirSlots) {
  const auto pair = make_pair(2, 3);
  pair->first->weight.set(at::full({3}, 7.0));
  EXPECT_TRUE(at::equal((*pair)(at::ones({3})), at::full({3}, 21.0)));
}

TEST(Module, FqnsFollowTheTree) {
  ModuleList<Pair> list;
  list.append(std::make_shared<Pair>());
  list.append(nullptr);
  list.append(std::make_shared<Pair>());
  EXPECT_EQ(fqns(list),
            (std::vector<std::string>{"0.first.weight", "0.second.weight", "2.first.weight", "2.second.weight"}));
  EXPECT_EQ(list[2]->second->fqn(), "2.second");
}

TEST(Module, TiedTensorIsOneParameterAndStaysTied) {
  Pair pair;
  pair.second->weight.set(pair.first->weight);
  EXPECT_EQ(fqns(pair), std::vector<std::string>{"first.weight"});
  EXPECT_EQ(fqns(pair, true).size(), 2u);
  pair.to_empty(at::kCPU);
  EXPECT_TRUE(pair.first->weight.get().is_cpu());
  EXPECT_TRUE(pair.first->weight.get().requires_grad());
  EXPECT_TRUE(pair.first->weight.get().is_same(pair.second->weight.get()));
}

TEST(Module, ChildOfAnotherTypeIsRefused) {
  Pair pair;
  pair.first.replace(std::make_shared<Scale>());
  EXPECT_EQ(pair.first->fqn(), "first");
  EXPECT_THROW(pair.first.replace(std::make_shared<Pair>()), c10::Error);
}

TEST(Module, BackwardHooksSeeGradientsOfOutputThenInputs) {
  const auto pair = make_pair(2, 3);
  std::vector<std::string> events;
  pair->first->register_full_backward_pre_hook([&](Module&, const at::Tensor& grad) {
    EXPECT_TRUE(at::equal(grad, at::full({3}, 3.0)));
    events.push_back("pre");
  });
  pair->first->register_full_backward_hook([&](Module& module, std::span<const at::Tensor> grads) {
    ASSERT_EQ(grads.size(), 1u);
    EXPECT_TRUE(at::equal(grads[0], at::full({3}, 6.0)));
    // The module's own gradients are accumulated by now.
    EXPECT_TRUE(static_cast<Scale&>(module).weight.get().grad().defined());
    events.push_back("post");
  });
  at::Tensor x = at::ones({3}).set_requires_grad(true);
  (*pair)(x).sum().backward();
  EXPECT_EQ(events, (std::vector<std::string>{"pre", "post"}));
  EXPECT_TRUE(at::equal(x.grad(), at::full({3}, 6.0)));
}

TEST(Module, BackwardHookOfModuleWithoutDifferentiableInputsRunsAtTheEnd) {
  const auto pair = make_pair(2, 3);
  int calls = 0;
  pair->first->register_full_backward_hook([&](Module& module, std::span<const at::Tensor> grads) {
    EXPECT_TRUE(grads.empty());
    EXPECT_TRUE(static_cast<Scale&>(module).weight.get().grad().defined());
    ++calls;
  });
  (*pair)(at::ones({3})).sum().backward();
  EXPECT_EQ(calls, 1);
}

TEST(Module, BackwardHooksCostNothingWithoutGradients) {
  const auto pair = make_pair(2, 3);
  pair->register_full_backward_hook([](Module&, std::span<const at::Tensor>) { FAIL(); });
  at::NoGradGuard no_grad;
  EXPECT_FALSE((*pair)(at::ones({3})).requires_grad());
}

TEST(Module, GradientsAreReadyOnceEachUse) {
  const auto pair = make_pair(2, 3);
  std::vector<std::string> events;
  pair->first->register_gradients_ready_hook([&](Module& first) {
    EXPECT_TRUE(static_cast<Scale&>(first).weight.get().grad().defined());
    events.push_back("first");
  });
  pair->second->register_gradients_ready_hook([&](Module& second) {
    EXPECT_TRUE(static_cast<Scale&>(second).weight.get().grad().defined());
    events.push_back("second");
  });
  const at::Tensor y = (*pair)(at::ones({3}));
  EXPECT_TRUE(events.empty());
  y.sum().backward();
  EXPECT_EQ(events, (std::vector<std::string>{"second", "first"}));
}

TEST(Module, GradientsOfASeriesAreReadyAtItsEnd) {
  const auto pair = make_pair(2, 3);
  int ready = 0;
  pair->register_gradients_ready_hook([&](Module&) { ++ready; });
  {
    CallSeries use(*pair);
    for (int i = 0; i < 3; ++i) (*pair)(at::ones({3})).sum().backward();
    EXPECT_EQ(ready, 0);
  }
  EXPECT_EQ(ready, 1);
  { CallSeries unused(*pair); }
  EXPECT_EQ(ready, 1);
}

TEST(Linear, AddsItsBias) {
  Linear linear(2, 3, at::kFloat, /*bias=*/true);
  EXPECT_EQ(fqns(linear), (std::vector<std::string>{"weight", "bias"}));
  linear.to_empty(at::kCPU);
  at::NoGradGuard no_grad;
  linear.weight.get().fill_(1);
  linear.bias->get().fill_(0.5);
  EXPECT_TRUE(at::equal(linear(at::ones({4, 2})), at::full({4, 3}, 2.5)));
}

}  // namespace
}  // namespace titan::nn
