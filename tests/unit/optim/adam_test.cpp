#include "titan/optim/adam.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/tensors.h"
#include "titan/config/job_config.h"
#include "titan/nn/init.h"
#include "titan/nn/linear.h"

namespace titan::optim {
namespace {

using test::random;

// Two parameters of odd sizes, the second without a gradient in every other step.
struct Model : nn::Module {
  nn::Child<nn::Linear> a{this, "a", std::make_shared<nn::Linear>(5, 7, at::kFloat)};
  nn::Child<nn::Linear> b{this, "b", std::make_shared<nn::Linear>(3, 1, at::kFloat)};
  Model() {
    to_empty(at::kCPU);
    for (nn::Parameter* parameter : parameters()) nn::Initializer(1).normal(*parameter);
  }
  void set_gradients(uint64_t step) {
    a->weight.get().mutable_grad() = random({7, 5}, step);
    if (step % 2 == 0) b->weight.get().mutable_grad() = random({1, 3}, step + 100);
  }
};

// Kingma and Ba, algorithm 1; Loshchilov and Hutter, algorithm 2; one element, in fp64.
struct Reference {
  double m = 0, v = 0;
  int64_t t = 0;
  double update(double w, double g, double lr, const AdamOptions& o) {
    ++t;
    if (o.decoupled_weight_decay) {
      w -= lr * o.weight_decay * w;
    } else {
      g += o.weight_decay * w;
    }
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(o.beta1, t)), v_hat = v / (1 - std::pow(o.beta2, t));
    return w - lr * m_hat / (std::sqrt(v_hat) + o.eps);
  }
};

class AdamTest : public testing::TestWithParam<std::tuple<Implementation, bool, double>> {};

TEST_P(AdamTest, FollowsThePapersAlgorithm) {
  const auto [implementation, decoupled, weight_decay] = GetParam();
  const AdamOptions options{
      .weight_decay = weight_decay, .decoupled_weight_decay = decoupled, .implementation = implementation};
  Model model;
  Adam adam(model.parameters(), options);
  Reference reference_a, reference_b;
  double a = model.a->weight.get()[3][2].item<double>(), b = model.b->weight.get()[0][1].item<double>();
  for (uint64_t step = 1; step <= 6; ++step) {
    const double lr = 0.01 * static_cast<double>(step);
    adam.zero_grad();
    model.set_gradients(step);
    a = reference_a.update(a, random({7, 5}, step)[3][2].item<double>(), lr, options);
    if (step % 2 == 0) b = reference_b.update(b, random({1, 3}, step + 100)[0][1].item<double>(), lr, options);
    adam.step(lr);
    EXPECT_NEAR(model.a->weight.get()[3][2].item<double>(), a, 2e-6) << "step " << step;
    EXPECT_NEAR(model.b->weight.get()[0][1].item<double>(), b, 2e-6) << "step " << step;
  }
}
INSTANTIATE_TEST_SUITE_P(All, AdamTest,
                         testing::Combine(testing::Values(Implementation::kFused, Implementation::kForeach,
                                                          Implementation::kForLoop),
                                          testing::Bool(), testing::Values(0.0, 0.1)));

TEST(Adam, StateRestoresTheTrajectory) {
  Model continued, restored;
  Adam first(continued.parameters(), {}), second(restored.parameters(), {});
  const auto step = [](Model& model, Adam& adam, uint64_t number) {
    adam.zero_grad();
    model.set_gradients(number);
    adam.step(0.01);
  };
  for (uint64_t number = 1; number <= 3; ++number) step(continued, first, number);
  {
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < restored.parameters().size(); ++i) {
      restored.parameters()[i]->get().copy_(continued.parameters()[i]->get());
    }
    const auto from = first.state(), to = second.state();
    ASSERT_EQ(from.size(), 6u);
    ASSERT_TRUE(from.contains("state.a.weight.exp_avg_sq"));
    for (const auto& [name, tensor] : from) to.at(name).copy_(tensor);
  }
  for (uint64_t number = 4; number <= 5; ++number) {
    step(continued, first, number);
    step(restored, second, number);
  }
  EXPECT_TRUE(at::equal(continued.a->weight.get(), restored.a->weight.get()));
  EXPECT_TRUE(at::equal(continued.b->weight.get(), restored.b->weight.get()));
}

// What a GPU decides without the host: there the tensor says whether a gradient was not finite.
TEST(Adam, SkippingChangesNothing) {
  Model model, untouched;
  Adam optimizer(model.parameters(), {});
  model.set_gradients(2);
  optimizer.step(0.1);
  const auto before = optimizer.state();
  std::map<std::string, at::Tensor> copies;
  for (const auto& [name, tensor] : before) copies[name] = tensor.clone();
  const at::Tensor a = model.a->weight.get().detach().clone();

  model.set_gradients(4);
  optimizer.step(0.1, /*skip=*/at::ones({}, at::kFloat));
  EXPECT_TRUE(at::equal(model.a->weight.get(), a));
  for (const auto& [name, tensor] : optimizer.state()) EXPECT_TRUE(at::equal(tensor, copies.at(name))) << name;

  optimizer.step(0.1, /*skip=*/at::zeros({}, at::kFloat));
  EXPECT_FALSE(at::equal(model.a->weight.get(), a));
  EXPECT_EQ(optimizer.state().at("state.a.weight.step").item<float>(), 2);
}

TEST(Adam, UnknownNamesAreRefusedByKey) {
  config::Optimizer config;
  config.name = "SGD";
  EXPECT_THROW(adam_options_from(config), c10::ValueError);
  config.name = "Adam";
  config.implementation = "fastest";
  EXPECT_THROW(adam_options_from(config), c10::ValueError);
}

}  // namespace
}  // namespace titan::optim
