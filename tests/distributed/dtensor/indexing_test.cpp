// Taking and putting elements at every placement, against plain tensors.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/index.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/index_put.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/scatter.h>
#include <ATen/ops/scatter_add.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include "tests/distributed/dtensor/meshes.h"
#include "tests/distributed/dtensor/operator_check.h"
#include "tests/support/tensors.h"

namespace titan::test {
namespace {

at::Tensor indices(at::IntArrayRef sizes, int64_t below) {
  return at::arange(c10::multiply_integers(sizes), at::kLong).mul(7).add(3).remainder(below).view(sizes);
}

TEST(DTensorIndexing, EmbeddingIsShardedByTokensVocabularyOrDim) {
  on_meshes([](const dtensor::Mesh& mesh) {
    check_operator(
        "embedding", [](const Tensors& x) { return Tensors{at::embedding(x[0], x[1])}; },
        {random({7, 4}, 1), indices({2, 5}, 7)}, mesh);
    check_operator(
        "embedding of a small vocabulary", [](const Tensors& x) { return Tensors{at::embedding(x[0], x[1])}; },
        {random({1, 4}, 1), indices({5}, 1)}, mesh);
  });
}

TEST(DTensorIndexing, IndexAndIndexPutFollowTheRulesOfNumPy) {
  on_meshes([](const dtensor::Mesh& mesh) {
    using Indices = c10::List<std::optional<at::Tensor>>;
    const Tensors x{random({4, 3, 5}, 1), indices({2, 3}, 4), indices({3}, 3)};
    check_operator(
        "first", [](const Tensors& x) { return Tensors{at::index(x[0], Indices({x[1]}))}; }, x, mesh);
    check_operator(
        "middle",
        [](const Tensors& x) {
          return Tensors{at::index(x[0], Indices({std::nullopt, x[2]}))};
        },
        x, mesh);
    check_operator(
        "neighbours",
        [](const Tensors& x) {
          return Tensors{at::index(x[0], Indices({x[1], x[2]}))};
        },
        x, mesh);
    check_operator(
        "apart",
        [](const Tensors& x) {
          return Tensors{at::index(x[0], Indices({x[1], std::nullopt, x[2]}))};
        },
        x, mesh);
    for (const bool accumulate : {false, true}) {
      // Without accumulate, places are written once each.
      const Tensors put{random({4, 3}, 1), at::arange(3, at::kLong), random({3, 3}, 2)};
      check_operator(
          "index_put",
          [=](const Tensors& x) { return Tensors{at::index_put(x[0], Indices({x[1]}), x[2], accumulate)}; }, put, mesh);
    }
  });
}

TEST(DTensorIndexing, GatherAndScatterGoAlongOneDimension) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const Tensors x{random({4, 5}, 1), indices({4, 3}, 5), random({4, 3}, 2)};
    check_operator(
        "gather", [](const Tensors& x) { return Tensors{at::gather(x[0], 1, x[1])}; }, {x[0], x[1]}, mesh);
    check_operator(
        "scatter", [](const Tensors& x) { return Tensors{at::scatter(x[0], 1, x[1], x[2])}; },
        {x[0], at::arange(3, at::kLong).repeat({4, 1}), x[2]}, mesh);
    check_operator(
        "scatter a number", [](const Tensors& x) { return Tensors{at::scatter(x[0], 1, x[1], 2.0)}; }, {x[0], x[1]},
        mesh);
    check_operator(
        "scatter_add", [](const Tensors& x) { return Tensors{at::scatter_add(x[0], 1, x[1], x[2])}; }, x, mesh);
    check_operator(
        "scatter_add of fewer rows", [](const Tensors& x) { return Tensors{at::scatter_add(x[0], 1, x[1], x[2])}; },
        {random({6, 5}, 3), x[1], x[2]}, mesh);
    check_operator(
        "index_select", [](const Tensors& x) { return Tensors{at::index_select(x[0], 1, x[1])}; },
        {random({4, 5}, 1), indices({3}, 5)}, mesh);
    check_operator(
        "index_add", [](const Tensors& x) { return Tensors{at::index_add(x[0], 0, x[1], x[2])}; },
        {random({4, 5}, 1), indices({3}, 4), random({3, 5}, 2)}, mesh);
  });
}

TEST(DTensorIndexing, TensorsAreJoinedRepeatedAndPadded) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const Tensors x{random({4, 3}, 1), random({4, 3}, 2)};
    check_operator(
        "cat",
        [](const Tensors& x) {
          return Tensors{at::cat({x[0], x[1]}, 1)};
        },
        x, mesh);
    check_operator(
        "stack",
        [](const Tensors& x) {
          return Tensors{at::stack({x[0], x[1]}, 1)};
        },
        x, mesh);
    check_operator(
        "repeat",
        [](const Tensors& x) {
          return Tensors{x[0].repeat({2, 1, 3})};
        },
        {x[0]}, mesh);
    check_operator(
        "pad",
        [](const Tensors& x) {
          return Tensors{at::constant_pad_nd(x[0], {1, 2})};
        },
        {x[0]}, mesh);
    check_operator(
        "pad with ones",
        [](const Tensors& x) {
          return Tensors{at::constant_pad_nd(x[0], {1, 2}, 1)};
        },
        {x[0]}, mesh);
  });
}

TEST(DTensorIndexing, AMaskIsRefused) {
  on_mesh({2}, [](const dtensor::Mesh& mesh) {
    const at::Tensor x = place(random({4, 3}, 1), mesh, {dtensor::shard(0)});
    EXPECT_THROW(at::index(x, c10::List<std::optional<at::Tensor>>({x > 0})), c10::NotImplementedError);
  });
}

}  // namespace
}  // namespace titan::test
