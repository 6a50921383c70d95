// The backward in two halves against the plain one, bit for bit: linear layers as they are, in a lower precision,
// recomputed, sharded and split over ranks.
#include <gtest/gtest.h>

#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/activation_checkpoint/checkpoint.h"
#include "titan/nn/init.h"
#include "titan/nn/linear.h"
#include "titan/nn/weight_gradient_queue.h"
#include "titan/parallel/fsdp/fully_shard.h"
#include "titan/parallel/mixed_precision.h"
#include "titan/parallel/tensor/parallelize_module.h"

namespace titan::pipeline {
namespace {

using test::random;
using World = std::shared_ptr<distributed::World>;

// Sizes that nothing divides.
struct Block : nn::Callable<Block> {
  explicit Block(at::ScalarType dtype, bool bias)
      : up(this, "up", std::make_shared<nn::Linear>(6, 7, dtype, bias)),
        down(this, "down", std::make_shared<nn::Linear>(7, 6, dtype, bias)) {}
  at::Tensor forward(const at::Tensor& x) { return x + down(up(x).tanh()); }
  void initialise() {
    to_empty(at::kCPU);
    for (nn::Parameter* parameter : parameters()) nn::Initializer(1).normal(*parameter, 0.1, 0.4);
  }
  nn::Child<nn::Linear> up, down;
};

using Tensors = std::vector<at::Tensor>;
using Prepare = std::function<void(Block&)>;  // to be called on the meta device

// What a technique does around the micro-batches and with the gradients; plain parameters need nothing.
struct Around {
  std::function<void()> after_all = [] {};
  std::function<at::Tensor(const at::Tensor&)> local = [](const at::Tensor& gradient) { return gradient; };
};

// `dtype`: of what is computed. Gradients of the parameters and of the inputs after two micro-batches whose forwards
// come before their backwards; in halves, both weight halves come last.
Tensors gradients(bool in_halves, at::ScalarType dtype, at::ScalarType param_dtype, at::IntArrayRef sizes, bool bias,
                  const std::function<Around(Block&)>& prepare) {
  Block block(param_dtype, bias);
  const Around around = prepare(block);
  block.initialise();
  auto queue = std::make_shared<nn::WeightGradientQueue>();
  if (in_halves) {
    block.up->set_weight_gradient_queue(queue);
    block.down->set_weight_gradient_queue(queue);
  }
  Tensors inputs, outputs, found;
  for (uint64_t i = 0; i < 2; ++i) {
    inputs.push_back(random(sizes, i).to(dtype).set_requires_grad(true));
    outputs.push_back(block(inputs.back()));
  }
  std::vector<std::vector<nn::WeightGradientQueue::Product>> put_off;
  for (size_t i = 0; i < 2; ++i) {
    queue->put_off(in_halves);
    outputs[i].backward(random(outputs[i].sizes(), 7 + i).to(outputs[i].scalar_type()));
    put_off.push_back(queue->take());
    EXPECT_EQ(put_off.back().size(), in_halves ? 2u : 0u);
    found.push_back(inputs[i].grad());
  }
  for (auto& products : put_off) nn::compute(std::move(products));
  around.after_all();
  for (const nn::Parameter* parameter : block.parameters()) {
    EXPECT_TRUE(parameter->get().grad().defined()) << parameter->fqn();
    found.push_back(around.local(parameter->get().grad()));
  }
  return found;
}

void expect_equal_halves(at::ScalarType dtype, at::ScalarType param_dtype, at::IntArrayRef sizes, bool bias,
                         const std::function<Around(Block&)>& prepare) {
  const Tensors whole = gradients(false, dtype, param_dtype, sizes, bias, prepare),
                halves = gradients(true, dtype, param_dtype, sizes, bias, prepare);
  ASSERT_EQ(whole.size(), halves.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i].scalar_type(), halves[i].scalar_type());
    EXPECT_TRUE(at::equal(whole[i], halves[i])) << "gradient " << i << " in " << dtype;
    EXPECT_GT(whole[i].abs().max().item<double>(), 0) << "gradient " << i;
  }
}

TEST(SplitBackward, OfPlainLayersIsTheWholeBackward) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const bool bias : {false, true}) {
      expect_equal_halves(dtype, dtype, {5, 6}, bias, [](Block&) { return Around(); });
      expect_equal_halves(dtype, dtype, {3, 5, 6}, bias, [](Block&) { return Around(); });
    }
  }
}

TEST(SplitBackward, GoesOnThroughACastOfTheWeight) {
  expect_equal_halves(at::kBFloat16, at::kFloat, {3, 5, 6}, true, [](Block& block) {
    parallel::apply_mixed_precision(block, at::kBFloat16);
    return Around();
  });
}

TEST(SplitBackward, OfRecomputedLayersIsTheWholeBackward) {
  expect_equal_halves(at::kFloat, at::kFloat, {3, 5, 6}, true, [](Block& block) {
    activation_checkpoint::checkpoint(block, {});
    return Around();
  });
}

// Gradients of two micro-batches, reduced once.
TEST(SplitBackward, OfShardedLayersIsTheWholeBackward) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    test::run_ranks(2, "shm", [&](const World& world) {
      expect_equal_halves(dtype, at::kFloat, {3, 5, 6}, true, [&](Block& block) {
        const distributed::DeviceMesh mesh(world, {{"dp_shard", 2}});
        auto fsdp = std::make_shared<parallel::FullyShard>(
            std::vector<parallel::FsdpUnit>{{.modules = {&block}}}, mesh,
            parallel::FsdpOptions{.param_dtype = dtype, .reduce_dtype = at::kFloat});
        fsdp->leave_to_caller();
        return Around{.after_all =
                          [fsdp] {
                            fsdp->accumulate_gradients();
                            fsdp->reduce_gradients();
                            fsdp->finish();
                          },
                      .local = [](const at::Tensor& gradient) { return dtensor::local_of(gradient); }};
      });
    });
  }
}

TEST(SplitBackward, OfLayersThatRanksShareIsTheWholeBackward) {
  test::run_ranks(2, "shm", [&](const World& world) {
    expect_equal_halves(at::kFloat, at::kFloat, {3, 4, 6}, true, [&](Block& block) {
      const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"tp", 2}}));
      parallel::parallelize_module(
          block, mesh, {parallel::colwise_parallel("up"), parallel::rowwise_parallel("down", dtensor::replicate())});
      return Around{.local = [](const at::Tensor& gradient) { return dtensor::full_tensor(gradient); }};
    });
  });
}

}  // namespace
}  // namespace titan::pipeline
