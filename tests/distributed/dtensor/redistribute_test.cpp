// Making, placing and taking apart DTensors: values, gradients, and what is sent for it.
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "tests/distributed/dtensor/counted_backend.h"
#include "tests/distributed/dtensor/meshes.h"
#include "tests/distributed/dtensor/operator_check.h"
#include "tests/support/tensors.h"

namespace titan::test {
namespace {

using dtensor::partial;
using dtensor::Placement;
using dtensor::Placements;
using dtensor::ReduceOp;
using dtensor::replicate;
using dtensor::shard;
using dtensor::strided_shard;

// 5 x 4 over 3 ranks: uneven rows (2, 2, 1) and columns (2, 2, 0).
std::vector<Placements> all_placements(int64_t num_axes) {
  const Placements on_axis{replicate(), shard(0), shard(1), strided_shard(0, 2), partial(), partial(ReduceOp::kAvg)};
  std::vector<Placements> all{{}};
  for (int64_t axis = 0; axis < num_axes; ++axis) {
    std::vector<Placements> longer;
    for (const Placements& placements : all) {
      for (const Placement& placement : on_axis) {
        longer.push_back(placements);
        longer.back().push_back(placement);
      }
    }
    all = std::move(longer);
  }
  return all;
}

TEST(Redistribute, KeepsTheTensorBetweenAllPlacements) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const at::Tensor whole = random({5, 4}, 1);
    for (const Placements& from : all_placements(mesh.num_axes())) {
      const at::Tensor x = place(whole, mesh, from);
      ASSERT_TRUE(at::allclose(dtensor::full_tensor(x), whole, 1e-5, 1e-5)) << from;
      for (const Placements& to : all_placements(mesh.num_axes())) {
        const at::Tensor y = dtensor::redistribute(x, to);
        ASSERT_EQ(dtensor::placements_of(y), to);
        ASSERT_TRUE(at::allclose(dtensor::full_tensor(y), whole, 1e-5, 1e-5)) << from << " -> " << to;
      }
    }
  });
}

TEST(Redistribute, KeepsExtrema) {
  on_mesh({3}, [](const dtensor::Mesh& mesh) {
    const at::Tensor mine = random({5, 4}, static_cast<uint64_t>(mesh.coordinate(0)));
    const at::Tensor largest = distributed::all_reduce(mine, ReduceOp::kMax, mesh.group()).wait();
    const at::Tensor smallest = distributed::all_reduce(mine, ReduceOp::kMin, mesh.group()).wait();
    for (const Placement& to : {replicate(), shard(0), shard(1), partial(ReduceOp::kMax)}) {
      const at::Tensor x = dtensor::from_local(mine, mesh, {partial(ReduceOp::kMax)});
      EXPECT_TRUE(at::equal(dtensor::full_tensor(dtensor::redistribute(x, {to})), largest)) << to;
      const at::Tensor y = dtensor::from_local(mine, mesh, {partial(ReduceOp::kMin)});
      EXPECT_TRUE(at::equal(dtensor::full_tensor(dtensor::redistribute(y, {to})), smallest)) << to;
    }
  });
}

struct Path {
  std::vector<int64_t> mesh;
  Placements from, to;
  Counts counts;  // on every rank
};

// 8 x 12 numbers of 4 bytes, 384 bytes.
TEST(Redistribute, TakesTheCheapestPath) {
  const std::vector<Path> paths{
      {{2}, {shard(0)}, {replicate()}, {.all_gather = 1, .bytes = 192}},
      {{2}, {shard(0)}, {shard(1)}, {.all_to_all = 1, .bytes = 192}},
      {{2}, {partial()}, {replicate()}, {.all_reduce = 1, .bytes = 384}},
      {{2}, {partial()}, {shard(1)}, {.reduce_scatter = 1, .bytes = 384}},
      {{2}, {replicate()}, {shard(1)}, {}},
      {{2}, {replicate()}, {partial()}, {}},
      {{2}, {shard(0)}, {partial()}, {.all_gather = 1, .bytes = 192}},
      {{2, 2}, {shard(0), shard(1)}, {shard(0), replicate()}, {.all_gather = 1, .bytes = 96}},
      {{2, 2}, {shard(0), shard(0)}, {shard(0), replicate()}, {.all_gather = 1, .bytes = 96}},
      {{2, 2}, {partial(), shard(0)}, {shard(1), shard(0)}, {.reduce_scatter = 1, .bytes = 192}},
      // First what makes the rest smaller.
      {{2, 2},
       {partial(), partial()},
       {shard(0), replicate()},
       {.reduce_scatter = 1, .all_reduce = 1, .bytes = 384 + 192}},
      {{2, 2},
       {shard(0), partial()},
       {replicate(), shard(0)},
       {.all_gather = 1, .reduce_scatter = 1, .bytes = 192 + 384}},
      // FSDP over tensor parallelism: gathered over dp_shard, the shard of tensor parallelism is left.
      {{2, 2}, {strided_shard(0, 2), shard(0)}, {replicate(), shard(0)}, {.all_gather = 1, .bytes = 96}},
      // An axis of one rank has nothing to say.
      {{2, 1}, {shard(0), partial()}, {shard(0), shard(0)}, {}},
      {{1, 2}, {shard(0), shard(0)}, {replicate(), shard(1)}, {.all_to_all = 1, .bytes = 192}},
  };
  for (const Path& path : paths) {
    on_mesh(path.mesh, [&](const dtensor::Mesh& mesh) {
      const at::Tensor x = place(random({8, 12}, 1), mesh, path.from);
      const Counts counts = counts_of([&] { dtensor::redistribute(x, path.to); });
      EXPECT_EQ(counts, path.counts) << path.from << " -> " << path.to;
    });
  }
}

TEST(Redistribute, SharesNoMemoryWithItsSource) {
  on_mesh({2}, [](const dtensor::Mesh& mesh) {
    const at::Tensor x = place(random({4, 4}, 1), mesh, {replicate()});
    const at::Tensor y = dtensor::redistribute(x, {shard(0)});
    EXPECT_FALSE(dtensor::local_of(y).is_alias_of(dtensor::local_of(x)));
    const at::Tensor whole = random({4, 4}, 2);
    EXPECT_FALSE(dtensor::local_of(dtensor::distribute_tensor(whole, mesh, {replicate()})).is_alias_of(whole));
    EXPECT_FALSE(dtensor::local_of(dtensor::distribute_tensor(whole, mesh, {shard(0)}, {.broadcast = false}))
                     .is_alias_of(whole));
    EXPECT_EQ(dtensor::redistribute(x, {replicate()}).unsafeGetTensorImpl(), x.unsafeGetTensorImpl());
  });
}

TEST(Redistribute, AsyncGivesTheSame) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const at::Tensor whole = random({5, 4}, 1);
    for (const Placements& from : all_placements(mesh.num_axes())) {
      auto pending = dtensor::redistribute_async(place(whole, mesh, from), Placements(mesh.num_axes(), shard(1)));
      EXPECT_TRUE(at::allclose(dtensor::full_tensor(pending.wait()), whole, 1e-5, 1e-5)) << from;
    }
  });
}

TEST(Redistribute, MetaTensorsHaveShapesOnly) {
  on_mesh({3}, [](const dtensor::Mesh& mesh) {
    const at::Tensor meta = at::empty({5, 4}, at::TensorOptions().device(at::kMeta));
    const at::Tensor x = dtensor::distribute_tensor(meta, mesh, {shard(0)});
    EXPECT_TRUE(x.is_meta());
    const Counts counts = counts_of([&] {
      const at::Tensor y = dtensor::redistribute(x * 2, {replicate()}).t();
      EXPECT_EQ(y.sizes(), (std::vector<int64_t>{4, 5}));
      EXPECT_TRUE(dtensor::local_of(y).is_meta());
    });
    EXPECT_EQ(counts.collectives(), 0);
  });
}

// d/dx of sum(w * x) is w, whatever the way from x to the sum.
TEST(Redistribute, IsDifferentiated) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const at::Tensor whole = random({5, 4}, 1), w = random({5, 4}, 2);
    for (const Placements& from : all_placements(mesh.num_axes())) {
      for (const Placements& to : all_placements(mesh.num_axes())) {
        const at::Tensor x = place(whole, mesh, from).set_requires_grad(true);
        const at::Tensor weight =
            dtensor::distribute_tensor(w, mesh, Placements(mesh.num_axes()), {.broadcast = false});
        (dtensor::redistribute(x, to) * weight).sum().backward();
        ASSERT_TRUE(at::allclose(dtensor::full_tensor(x.grad()), w)) << from << " -> " << to;
      }
    }
  });
}

TEST(FromLocal, GradientsArePlacedAsTheTensor) {
  on_mesh({3}, [](const dtensor::Mesh& mesh) {
    const at::Tensor whole = random({5, 4}, 1), w = random({5, 4}, 2);
    const at::Tensor weight = dtensor::distribute_tensor(w, mesh, {replicate()}, {.broadcast = false});
    for (const Placement& placement : {replicate(), shard(0), shard(1), partial()}) {
      at::Tensor local = dtensor::local_of(place(whole, mesh, {placement})).clone().set_requires_grad(true);
      const at::Tensor x = dtensor::from_local(local, mesh, {placement}, whole.sizes());
      (x * weight).sum().backward();
      const Placement expected = placement.is_partial() ? replicate() : placement;
      EXPECT_TRUE(at::equal(local.grad(), dtensor::local_of(dtensor::redistribute(weight, {expected})))) << placement;
      EXPECT_FALSE(dtensor::is_dtensor(local.grad()));
    }
  });
}

TEST(ToLocal, GradientsOfThePartsMakeTheTensors) {
  on_mesh({3}, [](const dtensor::Mesh& mesh) {
    const at::Tensor whole = random({5, 4}, 1), w = random({5, 4}, 2);
    for (const Placement& placement : {replicate(), shard(0), shard(1)}) {
      const at::Tensor x = place(whole, mesh, {placement}).set_requires_grad(true);
      const at::Tensor mine = dtensor::local_of(place(w, mesh, {placement}));
      (dtensor::to_local(x) * mine).sum().backward();
      EXPECT_EQ(dtensor::placements_of(x.grad()), Placements{placement});
      EXPECT_TRUE(at::equal(dtensor::full_tensor(x.grad()), w)) << placement;
    }
    // Each rank's use of the whole is a term of the gradient.
    const at::Tensor x = place(whole, mesh, {replicate()}).set_requires_grad(true);
    (dtensor::to_local(x, Placements{partial()}) * w).sum().backward();
    EXPECT_TRUE(at::allclose(dtensor::full_tensor(x.grad()), w * 3.0));
  });
}

TEST(DistributeTensor, GivesEveryoneWhatTheFirstRankHas) {
  on_mesh({3}, [](const dtensor::Mesh& mesh) {
    at::Tensor mine = random({5, 4}, static_cast<uint64_t>(mesh.coordinate(0))).set_requires_grad(true);
    const at::Tensor x = dtensor::distribute_tensor(mine, mesh, {shard(0)});
    EXPECT_TRUE(at::equal(dtensor::full_tensor(x).detach(), random({5, 4}, 0)));
    x.sum().backward();
    EXPECT_TRUE(at::equal(mine.grad(), at::ones({5, 4})));
  });
}

TEST(FromLocal, RefusesWhatIsNoPart) {
  on_mesh({3}, [](const dtensor::Mesh& mesh) {
    const at::Tensor local = random({2, 4}, 1);
    EXPECT_THROW(dtensor::from_local(local, mesh, {shard(0)}, at::IntArrayRef{5, 3}), c10::ValueError);
    EXPECT_THROW(dtensor::from_local(local, mesh, {shard(2)}), c10::ValueError);
    EXPECT_THROW(dtensor::from_local(local, mesh, {shard(0), shard(1)}), c10::ValueError);
    EXPECT_THROW(dtensor::to_local(local), c10::ValueError);
    EXPECT_THROW(dtensor::redistribute(local, {shard(0)}), c10::ValueError);
  });
}

TEST(DTensor, AnOperatorWithoutARuleIsNamed) {
  on_mesh({2}, [](const dtensor::Mesh& mesh) {
    const at::Tensor x = place(random({4, 4}, 1), mesh, {shard(0)});
    try {
      x.inverse();
      ADD_FAILURE() << "expected an error";
    } catch (const c10::NotImplementedError& error) {
      EXPECT_NE(std::string(error.what()).find("aten::linalg_inv_ex(A: Float[4, 4] (S(0)) on (a 2))"),
                std::string::npos)
          << error.what();
    }
  });
}

// Two meshes of the same axes are one; the World ends with the last that needs it.
TEST(Mesh, IsTheSameWhereverItIsMade) {
  on_mesh({2}, [](const dtensor::Mesh& mesh) {
    const dtensor::Mesh again(mesh.device_mesh());
    EXPECT_EQ(again, mesh);
    const at::Tensor sum = place(random({4, 4}, 1), mesh, {shard(0)}) + place(random({4, 4}, 2), again, {shard(0)});
    EXPECT_EQ(dtensor::mesh_of(sum), mesh);
  });
}

}  // namespace
}  // namespace titan::test
