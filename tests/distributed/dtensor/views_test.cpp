// Views at every placement, and writing through them with and without autograd.
#include <ATen/TensorOperators.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/reshape.h>
#include <ATen/ops/split.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/view_as_complex.h>
#include <ATen/ops/view_as_real.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "tests/distributed/dtensor/meshes.h"
#include "tests/distributed/dtensor/operator_check.h"
#include "tests/support/tensors.h"

namespace titan::test {
namespace {

using dtensor::Placements;
using dtensor::replicate;
using dtensor::shard;

TEST(DTensorViews, ReorderAndCutDimensions) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const Tensors x{random({4, 3, 5}, 1)};
    check_operator(
        "transpose", [](const Tensors& x) { return Tensors{x[0].transpose(0, 2)}; }, x, mesh);
    check_operator(
        "permute",
        [](const Tensors& x) {
          return Tensors{x[0].permute({2, 0, 1})};
        },
        x, mesh);
    check_operator(
        "unsqueeze", [](const Tensors& x) { return Tensors{x[0].unsqueeze(-1).unsqueeze(0)}; }, x, mesh);
    check_operator(
        "select", [](const Tensors& x) { return Tensors{x[0].select(1, 2)}; }, x, mesh);
    check_operator(
        "slice", [](const Tensors& x) { return Tensors{x[0].slice(0, 1, 4, 2)}; }, x, mesh);
    check_operator(
        "whole slice", [](const Tensors& x) { return Tensors{x[0].slice(0, 0, 100)}; }, x, mesh);
    check_operator(
        "split", [](const Tensors& x) { return Tensors{at::split(x[0], 2, 2)}; }, x, mesh);
    check_operator(
        "chunk", [](const Tensors& x) { return Tensors{x[0].chunk(2, 0)}; }, x, mesh);
    check_operator(
        "split with sizes",
        [](const Tensors& x) {
          return Tensors{x[0].split_with_sizes({1, 4}, 2)};
        },
        x, mesh);
    check_operator(
        "unbind", [](const Tensors& x) { return Tensors{x[0].unbind(1)}; }, x, mesh);
    check_operator(
        "diagonal", [](const Tensors& x) { return Tensors{x[0].diagonal(0, 0, 2)}; }, x, mesh);
    check_operator(
        "unfold", [](const Tensors& x) { return Tensors{x[0].unfold(2, 2, 2)}; }, x, mesh);
    check_operator(
        "expand",
        [](const Tensors& x) {
          return Tensors{x[0].unsqueeze(1).expand({4, 2, 3, -1})};
        },
        x, mesh);
    check_operator(
        "squeeze",
        [](const Tensors& x) {
          return Tensors{x[0].squeeze(), x[0].squeeze(1)};
        },
        {random({3, 1, 2}, 2)}, mesh);
    check_operator(
        "complex", [](const Tensors& x) { return Tensors{at::view_as_real(at::view_as_complex(x[0]) * 2.0)}; },
        {random({4, 3, 2}, 2)}, mesh);
  });
}

TEST(DTensorViews, JoinAndSplitDimensions) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const Tensors x{random({4, 6, 5}, 1)};
    check_operator(
        "flatten", [](const Tensors& x) { return Tensors{x[0].flatten(0, 1)}; }, x, mesh);
    check_operator(
        "flatten all", [](const Tensors& x) { return Tensors{x[0].flatten()}; }, x, mesh);
    check_operator(
        "unflatten",
        [](const Tensors& x) {
          return Tensors{x[0].view({4, 2, 3, 5})};
        },
        x, mesh);
    check_operator(
        "join and split",
        [](const Tensors& x) {
          return Tensors{x[0].view({2, 12, 5})};
        },
        x, mesh);
    check_operator(
        "and back",
        [](const Tensors& x) {
          return Tensors{(x[0].view({24, 5}) * 2).view({4, 6, 5})};
        },
        x, mesh);
    check_operator(
        "sizes of 1",
        [](const Tensors& x) {
          return Tensors{x[0].view({1, 4, 1, 30, 1})};
        },
        x, mesh);
    check_operator(
        "reshape of a transposed",
        [](const Tensors& x) {
          return Tensors{x[0].transpose(0, 1).reshape({6, 20})};
        },
        x, mesh);
    check_operator(
        "heads",
        [](const Tensors& x) {
          return Tensors{x[0].view({4, 5, 2, 3}).transpose(1, 2)};
        },
        {random({4, 5, 6}, 2)}, mesh);
    check_operator(
        "one number", [](const Tensors& x) { return Tensors{x[0].view(at::IntArrayRef{})}; }, {random({1, 1}, 2)},
        mesh);
    check_operator(
        "empty",
        [](const Tensors& x) {
          return Tensors{x[0].view({0, 2, 3})};
        },
        {random({0, 6}, 2)}, mesh);
  });
}

// [batch, seq, dim] with seq sharded becomes [batch * seq, dim] without a word to another rank, and comes back.
TEST(DTensorViews, AShardedSequenceIsFlattenedInPlace) {
  on_mesh({2}, [](const dtensor::Mesh& mesh) {
    const at::Tensor x = place(random({3, 4, 5}, 1), mesh, {shard(1)});
    const at::Tensor flat = x.flatten(0, 1);
    EXPECT_EQ(dtensor::placements_of(flat), Placements{dtensor::strided_shard(0, 3)});
    EXPECT_EQ(dtensor::placements_of(flat.view({3, 4, 5})), Placements{shard(1)});
    EXPECT_EQ(dtensor::local_of(flat).data_ptr(), dtensor::local_of(x).data_ptr());
  });
}

TEST(DTensorViews, WritingThroughAViewWritesTheBase) {
  on_meshes([](const dtensor::Mesh& mesh) {
    for (const dtensor::Placement& placement : {replicate(), shard(0), shard(1)}) {
      const Placements placements(mesh.num_axes(), placement);
      const at::Tensor whole = random({4, 6}, 1);
      at::Tensor plain = whole.clone(), x = place(whole, mesh, placements);
      for (at::Tensor* const t : {&plain, &x}) {
        t->t().mul_(2.0);
        t->view({4, 6}).add_(1.0);
        t->unsqueeze(0).sub_(0.5);
        if (!placement.is_shard(0)) t->select(0, 1).zero_();
        if (!placement.is_shard(1)) t->slice(1, 2, 4).fill_(3.0);
      }
      EXPECT_TRUE(at::equal(dtensor::full_tensor(x), plain)) << to_string(placements);
    }
  });
}

// With gradients: y = f(x) is written through a view, and the gradient goes through what was written.
TEST(DTensorViews, WritingThroughAViewIsDifferentiated) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const Tensors x{random({4, 6}, 1), random({6, 4}, 2)};
    check_operator("mul_ through transpose",
                   [](const Tensors& x) {
                     at::Tensor y = x[0] * 1.5;
                     y.t().mul_(x[1]);
                     return Tensors{y};
                   },
                   x, mesh, {.partial_inputs = false});
    check_operator("add_ through a view of a view",
                   [](const Tensors& x) {
                     at::Tensor y = x[0] * 1.5;
                     y.unsqueeze(0).transpose(1, 2).add_(x[1]);
                     return Tensors{y * y};
                   },
                   x, mesh, {.partial_inputs = false});
    check_operator("copy_ into a part",
                   [](const Tensors& x) {
                     at::Tensor y = x[0] * 1.5;
                     if (dtensor::is_dtensor(y))
                       y = dtensor::redistribute(y, Placements(dtensor::placements_of(y).size()));
                     y.slice(1, 1, 3).copy_(x[1].slice(0, 0, 2).t());
                     y.select(0, 1).mul_(2.0);
                     return Tensors{y.sin()};
                   },
                   x, mesh, {.partial_inputs = false});
  });
}

TEST(DTensorViews, AViewThatCommunicationMadeIsNotWritten) {
  on_mesh({2}, [](const dtensor::Mesh& mesh) {
    const at::Tensor x = place(random({4, 6}, 1), mesh, {shard(0)});
    at::Tensor row = x.select(0, 1);
    EXPECT_THROW(row.zero_(), c10::Error);
    EXPECT_THROW(row.view({2, 3}).add_(1.0), c10::Error);
    at::Tensor own = row.clone();
    own.zero_();  // has no base
  });
}

TEST(DTensorViews, StridesOfAShardAreRefusedByName) {
  on_mesh({2}, [](const dtensor::Mesh& mesh) {
    const at::Tensor x = place(random({4, 6}, 1), mesh, {shard(0)});
    try {
      at::as_strided(x, {2, 2}, {1, 2});
      ADD_FAILURE() << "expected an error";
    } catch (const c10::NotImplementedError& error) {
      EXPECT_NE(std::string(error.what()).find("aten::as_strided"), std::string::npos) << error.what();
    }
  });
}

}  // namespace
}  // namespace titan::test
