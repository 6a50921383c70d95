// Operators on lists, and random numbers.
#include <ATen/TensorOperators.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/bernoulli.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/native_dropout.h>
#include <ATen/ops/rand_like.h>
#include <ATen/ops/randint_like.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <mutex>

#include "tests/distributed/dtensor/meshes.h"
#include "tests/distributed/dtensor/operator_check.h"
#include "tests/support/tensors.h"
#include "titan/optim/grad_norm.h"

namespace titan::test {
namespace {

using dtensor::partial;
using dtensor::Placements;
using dtensor::replicate;
using dtensor::shard;

// Parameters that are placed in different ways and of different shapes, one of them a number, one plain.
struct Parameters {
  explicit Parameters(const dtensor::Mesh& mesh, uint64_t seed) {
    const auto n = static_cast<size_t>(mesh.num_axes());
    const std::vector<std::pair<std::vector<int64_t>, dtensor::Placement>> kinds{
        {{5, 4}, shard(0)}, {{3, 2}, shard(1)}, {{7}, replicate()}, {{1, 4}, shard(0)}, {{}, replicate()}};
    for (const auto& [sizes, placement] : kinds) {
      plain.push_back(random(sizes, seed++));
      placed.push_back(place(plain.back(), mesh, Placements(n, placement)));
    }
    plain.push_back(random({3}, seed));
    placed.push_back(plain.back().clone());
  }
  Tensors plain, placed;
};

void expect_same(const Tensors& placed, const Tensors& plain, double tolerance = 1e-6) {
  ASSERT_EQ(placed.size(), plain.size());
  for (size_t i = 0; i < plain.size(); ++i) {
    const at::Tensor whole = dtensor::is_dtensor(placed[i]) ? dtensor::full_tensor(placed[i]) : placed[i];
    EXPECT_TRUE(at::allclose(whole, plain[i], tolerance, tolerance)) << i << ":\n" << whole << plain[i];
  }
}

TEST(DTensorOptimizer, ForeachOperatorsEqualThePlainOnes) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const Parameters x(mesh, 1), y(mesh, 11);
    expect_same(at::_foreach_add(x.placed, y.placed, 2), at::_foreach_add(x.plain, y.plain, 2));
    expect_same(at::_foreach_mul(x.placed, y.placed), at::_foreach_mul(x.plain, y.plain));
    expect_same(at::_foreach_sqrt(at::_foreach_mul(x.placed, x.placed)),
                at::_foreach_sqrt(at::_foreach_mul(x.plain, x.plain)));
    for (const double order : {1.0, 2.0, std::numeric_limits<double>::infinity()}) {
      expect_same(at::_foreach_norm(x.placed, order), at::_foreach_norm(x.plain, order));
    }
    at::_foreach_lerp_(x.placed, y.placed, 0.25);
    at::_foreach_lerp_(x.plain, y.plain, 0.25);
    at::_foreach_addcdiv_(x.placed, x.placed, at::_foreach_add(at::_foreach_mul(y.placed, y.placed), 1), 0.1);
    at::_foreach_addcdiv_(x.plain, x.plain, at::_foreach_add(at::_foreach_mul(y.plain, y.plain), 1), 0.1);
    expect_same(x.placed, x.plain);
  });
}

TEST(DTensorOptimizer, FusedAdamWBringsGradientsToTheParameters) {
  on_meshes([](const dtensor::Mesh& mesh) {
    for (const dtensor::Placement& of_gradients : {partial(), shard(0), replicate()}) {
      const Parameters x(mesh, 1);
      Tensors grads, placed_grads;
      const auto zeros = [](const Tensors& like) {
        Tensors made;
        for (const at::Tensor& t : like) made.push_back(at::zeros_like(t));
        return made;
      };
      Tensors means = zeros(x.plain), squares = zeros(x.plain), steps, placed_steps;
      Tensors placed_means = zeros(x.placed), placed_squares = zeros(x.placed);
      for (size_t i = 0; i < x.plain.size(); ++i) {
        grads.push_back(random(x.plain[i].sizes(), 40 + i));
        const bool is_plain = !dtensor::is_dtensor(x.placed[i]);
        const bool is_number = x.plain[i].dim() == 0 && of_gradients.is_shard();
        const Placements placements(mesh.num_axes(), is_number ? replicate() : of_gradients);
        placed_grads.push_back(is_plain ? grads[i] : place(grads[i], mesh, placements));
        steps.push_back(at::ones({}));
        placed_steps.push_back(at::ones({}));
      }
      at::_fused_adamw_(x.plain, grads, means, squares, at::TensorList{}, steps, 0.1, 0.9, 0.95, 0.1, 1e-8, false,
                        false);
      at::_fused_adamw_(x.placed, placed_grads, placed_means, placed_squares, at::TensorList{}, placed_steps, 0.1, 0.9,
                        0.95, 0.1, 1e-8, false, false);
      expect_same(x.placed, x.plain, 1e-5);
      expect_same(placed_means, means, 1e-5);
      expect_same(placed_squares, squares, 1e-5);
    }
  });
}

// A term's norm says nothing of the sum's.
TEST(DTensorOptimizer, TheGlobalNormAndClippingAreRightAtEveryPlacement) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const Tensors whole{random({5, 4}, 1), random({1, 3}, 2), random({7}, 3)};
    const double expected = optim::global_norm(whole).item<double>();
    for (const dtensor::Placement& first : placements_on_axis(whole[0], /*with_partial=*/true)) {
      for (const dtensor::Placement& second : placements_on_axis(whole[1], /*with_partial=*/true)) {
        const auto n = static_cast<size_t>(mesh.num_axes());
        Placements mixed(n, first);
        mixed.back() = second;
        const Tensors gradients{place(whole[0], mesh, mixed), place(whole[1], mesh, Placements(n, second)),
                                whole[2].clone()};
        const at::Tensor norm = optim::global_norm(gradients);
        ASSERT_NEAR(norm.item<double>(), expected, 1e-5 * expected) << mixed;
        optim::clip_by_norm(gradients, norm, 0.5);
        EXPECT_NEAR(optim::global_norm(gradients).item<double>(), 0.5, 1e-5) << mixed;
      }
    }
  });
}

// The same seed gives the same numbers on one rank, two, three and four, however they are placed.
TEST(DTensorRandom, NumbersDoNotDependOnTheLayout) {
  std::vector<std::vector<at::Tensor>> seen;
  std::mutex mutex;
  for (const std::vector<int64_t>& sizes : std::vector<std::vector<int64_t>>{{1}, {2}, {3}, {2, 2}}) {
    on_mesh(sizes, [&](const dtensor::Mesh& mesh) {
      const at::Tensor whole = at::zeros({5, 4});
      const size_t n = sizes.size();
      Placements mixed(n, shard(0));
      mixed.back() = shard(1);
      for (const Placements& placements : {Placements(n, replicate()), Placements(n, shard(0)), mixed}) {
        dtensor::manual_seed(mesh, 42);
        at::Tensor x = place(whole, mesh, placements);
        const auto [dropped, mask] = at::native_dropout(x + 1, 0.5, true);
        const std::vector<at::Tensor> numbers{at::rand_like(x),
                                              at::randn_like(x),
                                              at::randint_like(x, 3, 9),
                                              at::bernoulli(x + 0.5),
                                              x.clone().uniform_(-1, 1),
                                              x.clone().normal_(2, 3),
                                              x.clone().exponential_(2),
                                              x.clone().bernoulli_(0.25),
                                              at::dropout(x + 1, 0.5, true),
                                              dropped};
        std::vector<at::Tensor> values;
        for (const at::Tensor& number : numbers) values.push_back(dtensor::full_tensor(number));
        EXPECT_EQ(dtensor::random_state(mesh).num_calls, numbers.size());
        const std::scoped_lock lock(mutex);
        seen.push_back(values);
      }
    });
  }
  for (const auto& values : seen) {
    for (size_t i = 0; i < values.size(); ++i) EXPECT_TRUE(at::equal(values[i], seen.front()[i])) << i;
  }
}

TEST(DTensorRandom, NumbersAreDistributedAsAsked) {
  on_mesh({2}, [](const dtensor::Mesh& mesh) {
    dtensor::manual_seed(mesh, 1);
    at::Tensor x = place(at::zeros({400, 500}), mesh, {shard(0)});
    const auto value = [](const at::Tensor& t) { return dtensor::full_tensor(t).item<double>(); };
    EXPECT_NEAR(value(x.uniform_(2, 4).mean()), 3.0, 0.01);
    EXPECT_GE(value(x.min()), 2.0);
    EXPECT_LT(value(x.max()), 4.0);
    EXPECT_NEAR(value(x.normal_(1, 2).mean()), 1.0, 0.02);
    EXPECT_NEAR(value((x - 1).square().mean()), 4.0, 0.05);
    EXPECT_NEAR(value(x.bernoulli_(0.3).mean()), 0.3, 0.005);
    EXPECT_NEAR(value(x.exponential_(2).mean()), 0.5, 0.005);
    const at::Tensor integers = at::randint_like(x, 3, 9);
    EXPECT_EQ(value(integers.min()), 3);
    EXPECT_EQ(value(integers.max()), 8);
    const at::Tensor first = at::rand_like(x), second = at::rand_like(x);
    EXPECT_FALSE(at::equal(dtensor::full_tensor(first), dtensor::full_tensor(second)));
  });
}

}  // namespace
}  // namespace titan::test
