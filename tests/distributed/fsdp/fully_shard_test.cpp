// FSDP and HSDP against one device, on a small model of odd sizes. Ranks are threads.
#include "titan/parallel/fsdp/fully_shard.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/support/delayed_backend.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/nn/init.h"
#include "titan/nn/linear.h"

namespace titan::parallel {
namespace {

using distributed::DeviceMesh;
using test::random;
using test::relative_difference;
using World = std::shared_ptr<distributed::World>;

constexpr char kBackend[] = "shm";

// Layers of 7 rows, one after another; of five, the last two share their weight, and so make up one unit.
struct Model : nn::Module {
  std::vector<std::unique_ptr<nn::Child<nn::Linear>>> layers;
  explicit Model(at::ScalarType dtype = at::kFloat, int64_t num_layers = 5) {
    for (int64_t i = 0; i < num_layers; ++i) {
      layers.push_back(std::make_unique<nn::Child<nn::Linear>>(this, std::to_string(i),
                                                               std::make_shared<nn::Linear>(7, 7, dtype, true)));
    }
    if (num_layers == 5) (*layers[4])->weight.set((*layers[3])->weight);
  }
  nn::Module* layer(size_t i) const { return layers[i]->module(); }
  std::vector<FsdpUnit> units(bool reshard_last = false) const {
    return {{.modules = {layer(0)}},
            {.modules = {layer(1)}},
            {.modules = {layer(2)}},
            {.modules = {layer(3), layer(4)}, .reshard_after_forward = reshard_last}};
  }
  void initialise() {
    to_empty(at::kCPU);
    for (nn::Parameter* parameter : parameters()) nn::Initializer(1).normal(*parameter, 0.0, 0.5);
  }
  at::Tensor operator()(at::Tensor x) const {
    for (const auto& layer : layers) x = (*layer)(x).tanh();
    return x;
  }
};

at::Tensor rows(int64_t rank, int64_t microbatch) { return random({3, 7}, 10 + 10 * rank + microbatch); }

using Tensors = std::vector<at::Tensor>;

Tensors gradients_of(const Model& model) {
  Tensors gradients;
  for (const nn::Parameter* parameter : model.parameters()) gradients.push_back(parameter->get().grad());
  return gradients;
}

// Of all ranks' micro-batches, on one device.
Tensors expected_gradients(int64_t num_ranks, int64_t num_microbatches) {
  Model model;
  model.initialise();
  for (int64_t rank = 0; rank < num_ranks; ++rank) {
    for (int64_t i = 0; i < num_microbatches; ++i) model(rows(rank, i)).sum().backward();
  }
  return gradients_of(model);
}

void expect_gradients(const Model& model, const Tensors& expected, double tolerance, const std::string& what) {
  const Tensors gradients = gradients_of(model);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(dtensor::is_dtensor(gradients[i])) << what;
    EXPECT_LT(relative_difference(dtensor::full_tensor(gradients[i]), expected[i]), tolerance) << what << " " << i;
  }
}

DeviceMesh sharding_mesh(const World& world) { return DeviceMesh(world, {{"dp_shard", world->size()}}); }

void run_steps(Model& model, FullyShard& fsdp, int64_t rank, int64_t num_microbatches) {
  for (const nn::Parameter* parameter : model.parameters()) parameter->get().mutable_grad().reset();
  for (int64_t i = 0; i < num_microbatches; ++i) {
    fsdp.before_microbatch(i + 1 == num_microbatches);
    model(rows(rank, i)).sum().backward();
  }
  fsdp.finish();
}

class Fsdp : public testing::TestWithParam<int64_t> {};

// 7 rows over 2, 3, 4 and 8 ranks: uneven everywhere, empty shards on 4 (2, 2, 2, 1) and 8.
TEST_P(Fsdp, GradientsAreSumsOverRanksAndMicrobatches) {
  for (const int64_t num_microbatches : {1, 3}) {
    const Tensors expected = expected_gradients(GetParam(), num_microbatches);
    for (const bool reshard_last : {false, true}) {
      test::run_ranks(GetParam(), kBackend, [&](const World& world) {
        Model model;
        FullyShard fsdp(model.units(reshard_last), sharding_mesh(world));
        model.initialise();
        for (int step = 0; step < 2; ++step) {
          run_steps(model, fsdp, world->rank(), num_microbatches);
          expect_gradients(model, expected, 1e-6, "step " + std::to_string(step));
        }
      });
    }
  }
}

TEST_P(Fsdp, InitialParametersAreThoseOfOneDevice) {
  Model whole;
  whole.initialise();
  test::run_ranks(GetParam(), kBackend, [&](const World& world) {
    Model model;
    FullyShard fsdp(model.units(), sharding_mesh(world));
    model.initialise();
    for (size_t i = 0; i < whole.parameters().size(); ++i) {
      const at::Tensor& parameter = model.parameters()[i]->get();
      EXPECT_EQ(dtensor::placements_of(parameter), dtensor::Placements{dtensor::shard(0)});
      EXPECT_TRUE(at::equal(dtensor::full_tensor(parameter.detach()), whole.parameters()[i]->get())) << i;
    }
  });
}

// Parameters and gradients take ceil(rows / ranks) rows at most, and what is whole is two units at most.
TEST_P(Fsdp, HoldsAShardAndTwoWholeUnits) {
  test::run_ranks(GetParam(), kBackend, [&](const World& world) {
    Model model;
    FullyShard fsdp(model.units(/*reshard_last=*/true), sharding_mesh(world));
    model.initialise();
    run_steps(model, fsdp, world->rank(), 2);
    const size_t most_rows = static_cast<size_t>((7 + world->size() - 1) / world->size());
    for (const nn::Parameter* parameter : model.parameters()) {
      const at::Tensor& shard = dtensor::local_of(parameter->get());
      const size_t row_bytes = parameter->get().dim() == 2 ? 7 * sizeof(float) : sizeof(float);
      EXPECT_LE(shard.storage().nbytes(), most_rows * row_bytes) << parameter->fqn();
      EXPECT_LE(dtensor::local_of(parameter->get().grad()).storage().nbytes(), most_rows * row_bytes);
    }
    EXPECT_EQ(fsdp.max_units_unsharded(), 2);
  });
}
INSTANTIATE_TEST_SUITE_P(Ranks, Fsdp, testing::Values(2, 3, 4, 8));

TEST(Hsdp, ShardsInsideAndReplicatesOutside) {
  const Tensors expected = expected_gradients(6, 2);
  test::run_ranks(6, kBackend, [&](const World& world) {
    Model model;
    FullyShard fsdp(model.units(), DeviceMesh(world, {{"dp_replicate", 2}, {"dp_shard", 3}}));
    model.initialise();
    run_steps(model, fsdp, world->rank(), 2);
    expect_gradients(model, expected, 1e-6, "HSDP");
    const dtensor::Placements placements{dtensor::replicate(), dtensor::shard(0)};
    EXPECT_EQ(dtensor::placements_of(model.parameters()[0]->get()), placements);
  });
}

// Modules compute in bf16; what leaves a rank is summed in fp32, so the sum differs from that of the ranks' own bf16
// gradients by fp32's rounding.
TEST(Fsdp, MixedPrecisionComputesInOneDtypeAndSumsInAnother) {
  Tensors expected;
  for (int64_t rank = 0; rank < 3; ++rank) {
    Model whole;
    whole.initialise();
    for (nn::Parameter* slot : whole.parameters(/*with_tied=*/true)) {
      slot->set(slot->get().detach().to(at::kBFloat16).set_requires_grad(true));
    }
    (*whole.layers[4])->weight.set((*whole.layers[3])->weight);
    whole(rows(rank, 0).to(at::kBFloat16)).sum().backward();
    const Tensors own = gradients_of(whole);
    for (size_t i = 0; i < own.size(); ++i) {
      if (rank == 0) expected.push_back(at::zeros(own[i].sizes()));
      expected[i] += own[i].to(at::kFloat);
    }
  }
  test::run_ranks(3, kBackend, [&](const World& world) {
    Model model;
    FullyShard fsdp(model.units(), sharding_mesh(world), {.param_dtype = at::kBFloat16, .reduce_dtype = at::kFloat});
    model.initialise();
    fsdp.before_microbatch(/*last=*/true);
    model(rows(world->rank(), 0).to(at::kBFloat16)).sum().backward();
    fsdp.finish();
    EXPECT_EQ(model.parameters()[0]->get().scalar_type(), at::kFloat);
    expect_gradients(model, expected, 1e-6, "bf16");
  });
}

TEST(Fsdp, ForwardWithoutBackwardLeavesEverythingSharded) {
  Model whole;
  whole.initialise();
  const at::NoGradGuard no_grad;
  const at::Tensor expected = whole(rows(0, 0));
  test::run_ranks(2, kBackend, [&](const World& world) {
    const at::NoGradGuard no_grad_here;
    Model model;
    FullyShard fsdp(model.units(), sharding_mesh(world));
    model.initialise();
    EXPECT_LT(relative_difference(model(rows(0, 0)), expected), 1e-6);
    for (const nn::Parameter* parameter : model.parameters()) EXPECT_TRUE(dtensor::is_dtensor(parameter->get()));
  });
}

TEST(Fsdp, AParameterInTwoUnitsIsRefusedByName) {
  test::run_ranks(2, kBackend, [](const World& world) {
    Model model;
    try {
      FullyShard fsdp({{.modules = {model.layer(3)}}, {.modules = {model.layer(4)}}}, sharding_mesh(world));
      ADD_FAILURE() << "accepted";
    } catch (const c10::ValueError& error) {
      EXPECT_NE(std::string(error.what()).find("4.weight in a second one"), std::string::npos) << error.what();
    }
  });
}

// [Note: overlap] Every collective takes 20 ms, and computing takes 25 ms a layer and direction. One after another, 8
// gathers forward, 8 backward and 8 reductions would add 480 ms to a step of 400 ms.
TEST(Fsdp, PrefetchHidesTheCollectives) {
  using std::chrono::milliseconds;
  constexpr milliseconds kDelay(20), kCompute(25);
  constexpr int64_t kLayers = 8;
  const auto seconds_of_step = [&](milliseconds delay) {
    double seconds = 0;
    const test::RanksOptions options{.make_backend = test::delayed(distributed::backend_factory(kBackend), delay)};
    test::run_ranks(
        2, kBackend,
        [&](const World& world) {
          Model model(at::kFloat, kLayers);
          std::vector<FsdpUnit> units;
          for (size_t i = 0; i < kLayers; ++i) units.push_back({.modules = {model.layer(i)}});
          FullyShard fsdp(units, sharding_mesh(world));
          for (size_t i = 0; i < kLayers; ++i) {
            model.layer(i)->register_forward_pre_hook(
                [&](nn::Module&, nn::Inputs) { std::this_thread::sleep_for(kCompute); });
            model.layer(i)->register_full_backward_pre_hook(
                [&](nn::Module&, const at::Tensor&) { std::this_thread::sleep_for(kCompute); });
          }
          model.initialise();
          run_steps(model, fsdp, world->rank(), 1);  // makes the connections
          const auto start = std::chrono::steady_clock::now();
          run_steps(model, fsdp, world->rank(), 1);
          if (world->rank() == 0) {
            seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
          }
        },
        options);
    return seconds;
  };
  const double added = seconds_of_step(kDelay) - seconds_of_step(milliseconds(0));
  EXPECT_LT(added, 0.3 * 3 * kLayers * 0.020);
}

TEST(FsdpGroup, VerbsInAWrongStateAreOurMistake) {
  test::run_ranks(2, kBackend, [](const World& world) {
    Model model;
    const dtensor::Mesh mesh(sharding_mesh(world));
    std::vector<FsdpParam> params;
    params.emplace_back(std::vector<nn::Parameter*>{model.parameters()[0]}, mesh, /*shard_axis=*/0);
    FsdpGroup group(std::move(params), mesh, /*shard_axis=*/0, {}, std::make_shared<BufferPool>());
    model.initialise();
    EXPECT_THROW(group.reshard(), c10::Error);
    EXPECT_THROW(group.wait_for_unshard(), c10::Error);
    EXPECT_THROW(group.wait_for_gradients(), c10::Error);
    group.unshard();
    EXPECT_THROW(group.unshard(), c10::Error);
    group.wait_for_unshard();
    EXPECT_THROW(group.unshard(), c10::Error);
    group.reshard();
    EXPECT_EQ(group.state(), FsdpGroup::State::kSharded);
  });
}

}  // namespace
}  // namespace titan::parallel
