// Linear layers whose communication overlaps their products: the numbers of one device, and the time.
#include "titan/parallel/tensor/overlapped_linear.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/support/backends.h"
#include "tests/support/delayed_backend.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/dtensor/dtensor.h"
#include "titan/dtensor/interposition.h"
#include "titan/nn/init.h"
#include "titan/parallel/tensor/overlapped_matmul.h"
#include "titan/parallel/tensor/parallelize_module.h"

namespace titan::parallel {
namespace {

using dtensor::replicate;
using dtensor::shard;
using test::random;
using test::relative_difference;
using World = std::shared_ptr<distributed::World>;

// 5 hidden features over 2 to 4 ranks: uneven, and none on the last of 4.
constexpr int64_t kDim = 6, kHidden = 5, kSeq = 12;

// down(tanh(up x) * gate x)
struct FeedForward : nn::Callable<FeedForward> {
  explicit FeedForward(bool bias) : with_bias(bias) {}
  at::Tensor forward(const at::Tensor& x) { return down(up(x).tanh() * gate(x)); }
  bool with_bias;
  nn::Child<nn::Linear> up{this, "up", std::make_shared<nn::Linear>(kDim, kHidden, at::kFloat, with_bias)};
  nn::Child<nn::Linear> gate{this, "gate", std::make_shared<nn::Linear>(kDim, kHidden, at::kFloat, with_bias)};
  nn::Child<nn::Linear> down{this, "down", std::make_shared<nn::Linear>(kHidden, kDim, at::kFloat, with_bias)};
};

struct Block : nn::Callable<Block> {
  explicit Block(bool with_bias = true) : ffn(this, "ffn", std::make_shared<FeedForward>(with_bias)) {}
  at::Tensor forward(const at::Tensor& x) { return x + ffn(x); }
  void initialise() {
    to_empty(at::kCPU);
    for (nn::Parameter* parameter : parameters()) nn::Initializer(1).normal(*parameter, 0.1, 0.4);
  }
  nn::Child<FeedForward> ffn;
};

std::vector<ModuleSharding> plan(bool overlap) {
  std::vector<std::string> layers;
  if (overlap) layers = {"up", "gate"};
  return {prepare_module_input("ffn", shard(1), replicate(), layers), colwise_parallel("ffn.up"),
          colwise_parallel("ffn.gate"), rowwise_parallel("ffn.down", shard(1), overlap)};
}

// This rank's part of x along the sequence, a leaf.
at::Tensor part_of(const at::Tensor& x, const dtensor::Mesh& mesh) {
  const at::Tensor spread = dtensor::distribute_tensor(x.detach(), mesh, {shard(1)});
  return dtensor::local_of(spread).detach().clone().set_requires_grad(true);
}

class OverlappedLinear : public testing::TestWithParam<test::BackendCase> {};

// One sample and several: their parts are one block of memory, or not.
TEST_P(OverlappedLinear, ForwardAndBackwardAreThoseOfOneDevice) {
  for (const int64_t batch : {1, 3}) {
    for (const bool with_bias : {false, true}) {
      Block whole(with_bias);
      whole.initialise();
      at::Tensor x = random({batch, kSeq, kDim}, 3);
      x.set_requires_grad(true);
      const at::Tensor expected = whole(x);
      expected.square().sum().backward();
      test::run_ranks(GetParam().num_ranks, GetParam().backend, [&](const World& world) {
        const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"tp", GetParam().num_ranks}}));
        Block block(with_bias);
        parallelize_module(block, mesh, plan(/*overlap=*/true));
        ASSERT_NE(dynamic_cast<GatheredLinear*>(block.ffn->up.module()), nullptr);
        ASSERT_NE(dynamic_cast<ScatteredLinear*>(block.ffn->down.module()), nullptr);
        block.initialise();
        const at::Tensor local = part_of(x, mesh), output = block(local);
        output.square().sum().backward();
        const auto full = [&](const at::Tensor& part) {
          return dtensor::full_tensor(dtensor::from_local(part.detach().contiguous(), mesh, {shard(1)}));
        };
        EXPECT_LT(relative_difference(full(output), expected.detach()), 1e-6);
        EXPECT_LT(relative_difference(full(local.grad()), x.grad()), 1e-6);
        for (size_t i = 0; i < whole.parameters().size(); ++i) {
          EXPECT_LT(relative_difference(dtensor::full_tensor(block.parameters()[i]->get().grad()),
                                        whole.parameters()[i]->get().grad()),
                    1e-6)
              << whole.parameters()[i]->fqn();
        }
      });
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Backends, OverlappedLinear, testing::ValuesIn(test::on_every_backend({2, 3, 4})),
                         test::case_name);

// Two forwards and backwards in a row, so that messages of one could be taken for those of the other.
TEST(OverlappedLinears, AreTheSameBitsInEveryRun) {
  test::run_ranks(4, "shm", [&](const World& world) {
    const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"tp", 4}}));
    Block block;
    parallelize_module(block, mesh, plan(/*overlap=*/true));
    block.initialise();
    const at::Tensor x = part_of(random({2, kSeq, kDim}, 3), mesh);
    const auto gradients_of_two = [&] {
      for (nn::Parameter* parameter : block.parameters()) parameter->get().mutable_grad().reset();
      block(block(x)).square().sum().backward();
      std::vector<at::Tensor> gradients;
      for (nn::Parameter* parameter : block.parameters()) {
        gradients.push_back(dtensor::local_of(parameter->get().grad()).clone());
      }
      return gradients;
    };
    const auto first = gradients_of_two(), second = gradients_of_two();
    for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(at::equal(first[i], second[i])) << i;
  });
}

// Who uses the gathered input beside the layers has part in its gradient, as a term on each rank. With frozen weights
// nothing is gathered for them; without gradients nothing is kept.
TEST(OverlappedLinears, GradientsGoWhereTheyAreWanted) {
  const at::Tensor x = random({2, kSeq, kDim}, 3), w = random({kHidden, kDim}, 4);
  at::Tensor whole = x.clone().set_requires_grad(true);
  (whole.matmul(w.t()).square().sum() + whole.pow(3).sum() * 2).backward();
  test::run_ranks(2, "shm", [&](const World& world) {
    const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"tp", 2}}));
    const at::Tensor weight = dtensor::distribute_tensor(w, mesh, {shard(0)});
    const at::Tensor local = part_of(x, mesh);
    const auto results = all_gather_matmul(local, {weight}, 1);
    EXPECT_TRUE(at::equal(results[0].detach(), x));
    (results[1].square().sum() + results[0].pow(3).sum()).backward();
    const at::Tensor full = dtensor::full_tensor(dtensor::from_local(local.grad().contiguous(), mesh, {shard(1)}));
    EXPECT_LT(relative_difference(full, whole.grad()), 1e-6);

    // Only the weight's.
    const at::Tensor trained = weight.detach().set_requires_grad(true);
    all_gather_matmul(local.detach(), {trained}, 1)[1].sum().backward();
    EXPECT_LT(relative_difference(dtensor::full_tensor(trained.grad()), x.flatten(0, 1).sum(0).expand({kHidden, kDim})),
              1e-6);

    const at::NoGradGuard no_grad;
    EXPECT_FALSE(all_gather_matmul(local, {trained}, 1)[1].requires_grad());
  });
}

TEST(OverlappedLinears, MistakesAreRefused) {
  test::run_ranks(2, "shm", [&](const World& world) {
    const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"tp", 2}}));
    const at::Tensor weight = dtensor::distribute_tensor(random({kDim, 8}, 4), mesh, {shard(1)});
    EXPECT_THROW(matmul_reduce_scatter(random({1, 5, 4}, 1), weight, 1), c10::ValueError);
    // A layer that nobody gathers for; whole sequences, which are not gathered.
    Block block;
    parallelize_module(block, mesh, plan(/*overlap=*/true));
    block.initialise();
    EXPECT_THROW(block.ffn->up(random({1, kSeq, kDim}, 1)), c10::Error);
    Block other;
    EXPECT_THROW(parallelize_module(other, mesh, {prepare_module_input("ffn", replicate(), replicate(), {"up"})}),
                 c10::Error);
    EXPECT_THROW(parallelize_module(other, mesh, {rowwise_parallel("ffn.down", replicate(), true)}), c10::Error);
  });
}

// --- time ---

// Makes every product take some time, as on a slow processor.
class SlowProducts : public dtensor::Mode {
 public:
  explicit SlowProducts(std::chrono::milliseconds time) : time_(time) {}
  void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack& stack) override {
    const std::string& name = op.schema().name();
    if (name == "aten::mm" || name == "aten::addmm" || name == "aten::addmm_") std::this_thread::sleep_for(time_);
    dtensor::proceed(op, keys, stack);
  }
  bool sees_local_operators() const override { return true; }

 private:
  std::chrono::milliseconds time_;
};

// Every message takes 20 ms, and every product of a part 25 ms. Per block and step there are 5 collectives: two
// forward, and three backward; on 2 ranks each is one step of messages, and one after another they add 20 ms each.
TEST(OverlappedLinears, ProductsHideTheCommunication) {
  using std::chrono::milliseconds;
  constexpr milliseconds kDelay(20), kProduct(25);
  constexpr int64_t kBlocks = 2, kCollectives = 5;
  const auto seconds_of_step = [&](milliseconds delay) {
    double seconds = 0;
    const test::RanksOptions options{.make_backend = test::delayed(distributed::backend_factory("shm"), delay)};
    test::run_ranks(
        2, "shm",
        [&](const World& world) {
          const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"tp", 2}}));
          std::vector<std::unique_ptr<Block>> blocks;
          for (int64_t i = 0; i < kBlocks; ++i) {
            blocks.push_back(std::make_unique<Block>(/*with_bias=*/false));
            parallelize_module(*blocks.back(), mesh, plan(/*overlap=*/true));
            blocks.back()->initialise();
          }
          SlowProducts slow(kProduct);
          const dtensor::ModeGuard guard(slow);
          at::Tensor x = part_of(random({1, kSeq, kDim}, 3), mesh);
          const auto start = std::chrono::steady_clock::now();
          for (const auto& block : blocks) x = (*block)(x);
          x.sum().backward();
          if (world->rank() == 0) {
            seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
          }
        },
        options);
    return seconds;
  };
  const double bound = 0.3 * kCollectives * kBlocks * 0.020;
  double without = seconds_of_step(milliseconds(0)), with = seconds_of_step(kDelay);
  EXPECT_GT(without, 0.025 * 12 * kBlocks);  // the products are slow
  // A busy machine only ever makes a step longer, so of several the shortest is the step's own time.
  for (int i = 0; i < 3 && with - without >= bound; ++i) {
    with = std::min(with, seconds_of_step(kDelay));
    without = std::min(without, seconds_of_step(milliseconds(0)));
  }
  EXPECT_LT(with - without, bound);
}

}  // namespace
}  // namespace titan::parallel
