// What a transformer is made of besides products: norms, softmax, attention, losses, at every placement.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <gtest/gtest.h>

#include "tests/distributed/dtensor/counted_backend.h"
#include "tests/distributed/dtensor/meshes.h"
#include "tests/distributed/dtensor/operator_check.h"
#include "tests/support/tensors.h"
#include "titan/kernels/attention.h"

namespace titan::test {
namespace {

TEST(DTensorNorms, EqualThePlainOnes) {
  on_meshes([](const dtensor::Mesh& mesh) {
    check_operator("rms_norm", [](const Tensors& x) { return Tensors{at::rms_norm(x[0], {4}, x[1], 1e-5)}; },
                   {random({3, 5, 4}, 1), random({4}, 2)}, mesh, {.tolerance = 1e-4});
    check_operator("layer_norm", [](const Tensors& x) { return Tensors{at::layer_norm(x[0], {4}, x[1], x[2])}; },
                   {random({3, 5, 4}, 1), random({4}, 2), random({4}, 3)}, mesh, {.tolerance = 1e-4});
  });
}

TEST(DTensorSoftmax, TheDimensionItselfMayBeSharded) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const Tensors x{random({3, 5}, 1)};
    check_operator(
        "softmax", [](const Tensors& x) { return Tensors{at::softmax(x[0], 1)}; }, x, mesh);
    check_operator(
        "log_softmax", [](const Tensors& x) { return Tensors{at::log_softmax(x[0], 1)}; }, x, mesh);
    check_operator(
        "softmax of few", [](const Tensors& x) { return Tensors{at::softmax(x[0], 0)}; }, {random({1, 4}, 2)}, mesh);
  });
}

TEST(DTensorAttention, BatchAndHeadsMayBeSharded) {
  on_meshes([](const dtensor::Mesh& mesh) {
    for (const bool causal : {false, true}) {
      check_operator("attention",
                     [=](const Tensors& x) {
                       return Tensors{at::scaled_dot_product_attention(x[0], x[1], x[2], {}, 0.0, causal)};
                     },
                     {random({2, 4, 5, 8}, 1), random({2, 4, 5, 8}, 2), random({2, 4, 5, 8}, 3)}, mesh,
                     {.tolerance = 1e-4});
    }
    check_operator("grouped queries",
                   [](const Tensors& x) {
                     return Tensors{at::scaled_dot_product_attention(x[0], x[1], x[2], {}, 0.0, true, std::nullopt,
                                                                     /*enable_gqa=*/true)};
                   },
                   {random({2, 4, 5, 8}, 1), random({2, 2, 5, 8}, 2), random({2, 2, 5, 8}, 3)}, mesh,
                   {.tolerance = 1e-4});
  });
}

TEST(DTensorAttention, OursTakesBatchAndHeadsToo) {
  on_meshes([](const dtensor::Mesh& mesh) {
    for (const int64_t kv_heads : {4, 2}) {
      check_operator(
          "attention",
          [](const Tensors& x) { return Tensors{kernels::attention(x[0], x[1], x[2], {.is_causal = true})}; },
          {random({2, 5, 4, 8}, 1), random({2, 5, kv_heads, 8}, 2), random({2, 5, kv_heads, 8}, 3)}, mesh,
          {.tolerance = 1e-4});
    }
    const at::Tensor first_key = at::arange(5, at::kLong).div(2, "floor").mul(2).repeat({2, 1});
    check_operator("documents",
                   [](const Tensors& x) {
                     return Tensors{kernels::attention(x[0], x[0], x[0], {.is_causal = true, .first_key = x[1]})};
                   },
                   {random({2, 5, 4, 8}, 1), first_key}, mesh, {.tolerance = 1e-4});
  });
}

TEST(DTensorLoss, CrossEntropyIsShardedByRowsOrClasses) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const at::Tensor target =
        at::arange(6, at::kLong).mul(5).remainder(7).index_fill(0, at::arange(1, 2, at::kLong), -100);
    for (const at::Reduction::Reduction reduction : {at::Reduction::Sum, at::Reduction::Mean, at::Reduction::None}) {
      check_operator(
          "cross entropy",
          [=](const Tensors& x) { return Tensors{at::cross_entropy_loss(x[0], x[1], {}, reduction, -100)}; },
          {random({6, 7}, 1), target}, mesh);
      check_operator(
          "mse", [=](const Tensors& x) { return Tensors{at::mse_loss(x[0], x[1], reduction)}; },
          {random({5, 3}, 1), random({5, 3}, 2)}, mesh);
    }
  });
}

// The logits are not gathered: what goes between ranks has one number per row.
TEST(DTensorLoss, CrossEntropyOverAShardedVocabularySendsNumbersOfRowsOnly) {
  on_mesh({2}, [](const dtensor::Mesh& mesh) {
    const at::Tensor logits = place(random({6, 64}, 1), mesh, {dtensor::shard(1)}).set_requires_grad(true);
    const at::Tensor target = place(at::arange(6, at::kLong), mesh, {dtensor::replicate()});
    const Counts counts =
        counts_of([&] { at::cross_entropy_loss(logits, target, {}, at::Reduction::Sum, -100).backward(); });
    EXPECT_EQ(dtensor::placements_of(logits.grad()), dtensor::Placements{dtensor::shard(1)});
    // Maximum and sum, and the sum of the gradient, of 6 rows in fp32.
    EXPECT_EQ(counts, (Counts{.all_reduce = 3, .bytes = 3 * 6 * 4}));
  });
}

}  // namespace
}  // namespace titan::test
