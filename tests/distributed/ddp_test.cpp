#include "titan/parallel/ddp.h"

#include <gtest/gtest.h>

#include "tests/support/backends.h"
#include "tests/support/delayed_backend.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/nn/init.h"
#include "titan/nn/linear.h"

namespace titan::parallel {
namespace {

using test::random;
using test::relative_difference;
using World = std::shared_ptr<distributed::World>;

// Four layers of odd sizes, called one after another.
struct Model : nn::Module {
  std::vector<std::unique_ptr<nn::Child<nn::Linear>>> layers;
  Model() {
    for (int64_t i = 0; i < 4; ++i) {
      layers.push_back(std::make_unique<nn::Child<nn::Linear>>(this, std::to_string(i),
                                                               std::make_shared<nn::Linear>(7, 7, at::kFloat, true)));
    }
    to_empty(at::kCPU);
    for (nn::Parameter* parameter : parameters()) nn::Initializer(1).normal(*parameter, 0.0, 0.5);
  }
  std::vector<nn::Module*> units() const {
    std::vector<nn::Module*> all;
    for (const auto& layer : layers) all.push_back(layer->module());
    return all;
  }
  at::Tensor operator()(at::Tensor x) const {
    for (const auto& layer : layers) x = (*layer)(x).tanh();
    return x;
  }
};

at::Tensor rows(int64_t rank, int64_t microbatch) { return random({3, 7}, 10 + 10 * rank + microbatch); }

// The gradients of all ranks' micro-batches, on one device.
std::vector<at::Tensor> expected_gradients(int64_t num_ranks, int64_t num_microbatches) {
  Model model;
  for (int64_t rank = 0; rank < num_ranks; ++rank) {
    for (int64_t i = 0; i < num_microbatches; ++i) model(rows(rank, i)).sum().backward();
  }
  std::vector<at::Tensor> gradients;
  for (const nn::Parameter* parameter : model.parameters()) gradients.push_back(parameter->get().grad());
  return gradients;
}

class DdpBuckets : public testing::TestWithParam<std::tuple<test::BackendCase, int64_t>> {};

// Buckets of one tensor, of some, and of all; the second step reuses the buckets.
TEST_P(DdpBuckets, GradientsAreSumsOverRanksAndMicrobatches) {
  const auto [backend_case, bucket_bytes] = GetParam();
  const int64_t num_ranks = backend_case.num_ranks;
  for (const int64_t num_microbatches : {1, 3}) {
    const auto expected = expected_gradients(num_ranks, num_microbatches);
    test::run_ranks(num_ranks, std::get<0>(GetParam()).backend, [&, bytes = bucket_bytes](const World& world) {
      Model model;
      DistributedDataParallel ddp(model.units(), world->group(), {.bucket_bytes = bytes});
      for (int step = 0; step < 2; ++step) {
        for (const nn::Parameter* parameter : model.parameters()) parameter->get().mutable_grad().reset();
        for (int64_t i = 0; i < num_microbatches; ++i) {
          ddp.before_microbatch(i + 1 == num_microbatches);
          model(rows(world->rank(), i)).sum().backward();
        }
        ddp.finish();
        const auto parameters = model.parameters();
        for (size_t i = 0; i < parameters.size(); ++i) {
          EXPECT_LT(relative_difference(parameters[i]->get().grad(), expected[i]), 1e-6) << parameters[i]->fqn();
        }
      }
    });
  }
}
INSTANTIATE_TEST_SUITE_P(Backends, DdpBuckets,
                         testing::Combine(testing::ValuesIn(test::on_every_backend({1, 2, 3})),
                                          testing::Values(1, 250, 1 << 20)));

class Ddp : public testing::TestWithParam<test::BackendCase> {};

TEST_P(Ddp, UnusedParametersCountAsZero) {
  test::run_ranks(GetParam().num_ranks, GetParam().backend, [](const World& world) {
    Model model;
    nn::Linear& frozen = **model.layers[2];
    DistributedDataParallel ddp(model.units(), world->group());
    // Only rank 1 lacks this gradient.
    if (world->rank() == 1) frozen.bias->get().set_requires_grad(false);
    ddp.before_microbatch(true);
    model(rows(world->rank(), 0)).sum().backward();
    ddp.finish();
    EXPECT_TRUE(frozen.bias->get().grad().defined());
  });
}

TEST_P(Ddp, AccumulationSendsNothing) {
  test::run_ranks(GetParam().num_ranks, GetParam().backend, [](const World& world) {
    Model model;
    DistributedDataParallel ddp(model.units(), world->group());
    ddp.before_microbatch(false);
    // Were a rank to wait for the other here, which has no backward, this would time out.
    if (world->rank() == 0) model(rows(0, 0)).sum().backward();
    ddp.finish();
  });
}

// [Note: overlap] 8 buckets, each 20 ms on the wire: one after another they would take 160 ms beyond the backward.
TEST_P(Ddp, ReductionsOverlap) {
  constexpr auto kDelay = std::chrono::milliseconds(20);
  const test::RanksOptions options{.make_backend =
                                       test::delayed(distributed::backend_factory(GetParam().backend), kDelay)};
  test::run_ranks(
      GetParam().num_ranks, GetParam().backend,
      [&](const World& world) {
        Model model;
        DistributedDataParallel ddp(model.units(), world->group(), {.bucket_bytes = 1});
        const auto step = [&] {
          ddp.before_microbatch(true);
          model(rows(world->rank(), 0)).sum().backward();
          ddp.finish();
        };
        step();  // makes the connections
        const auto start = std::chrono::steady_clock::now();
        step();
        const auto took = std::chrono::steady_clock::now() - start;
        EXPECT_LT(took, 4 * kDelay) << std::chrono::duration<double>(took).count();
      },
      options);
}

INSTANTIATE_TEST_SUITE_P(Backends, Ddp, testing::ValuesIn(test::on_every_backend({2})), test::case_name);

}  // namespace
}  // namespace titan::parallel
