// Elementwise operators at every placement, against plain tensors.
#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/masked_fill.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/where.h>
#include <gtest/gtest.h>

#include "tests/distributed/dtensor/meshes.h"
#include "tests/distributed/dtensor/operator_check.h"
#include "tests/support/tensors.h"

namespace titan::test {
namespace {

TEST(DTensorPointwise, UnaryOperatorsEqualThePlainOnes) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const Tensors x{random({3, 4}, 1)};
    check_operator(
        "silu", [](const Tensors& x) { return Tensors{at::silu(x[0])}; }, x, mesh);
    check_operator(
        "gelu", [](const Tensors& x) { return Tensors{at::gelu(x[0])}; }, x, mesh);
    check_operator(
        "exp", [](const Tensors& x) { return Tensors{at::exp(x[0])}; }, x, mesh);
    check_operator(
        "neg", [](const Tensors& x) { return Tensors{-x[0]}; }, x, mesh);
    check_operator(
        "rsqrt", [](const Tensors& x) { return Tensors{at::rsqrt(x[0].square() + 1)}; }, x, mesh);
    check_operator(
        "pow", [](const Tensors& x) { return Tensors{at::pow(x[0], 3)}; }, x, mesh);
    check_operator(
        "clamp", [](const Tensors& x) { return Tensors{at::clamp(x[0], -0.5, 0.5)}; }, x, mesh);
    check_operator(
        "scalars", [](const Tensors& x) { return Tensors{(x[0] + 2) * 3 / 4 - 1}; }, x, mesh);
    check_operator(
        "comparison",
        [](const Tensors& x) {
          return Tensors{x[0].gt(0), x[0].ne(0)};
        },
        x, mesh);
  });
}

TEST(DTensorPointwise, BinaryOperatorsBroadcast) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const Tensors same{random({3, 4}, 1), random({3, 4}, 2)};
    const Tensors row{random({3, 4}, 1), random({4}, 2)};
    const Tensors column{random({2, 3, 4}, 1), random({3, 1}, 2)};
    for (const Tensors& x : {same, row, column}) {
      check_operator(
          "add", [](const Tensors& x) { return Tensors{at::add(x[0], x[1], 0.5)}; }, x, mesh);
      check_operator(
          "sub", [](const Tensors& x) { return Tensors{x[1] - x[0]}; }, x, mesh);
      check_operator(
          "mul", [](const Tensors& x) { return Tensors{x[0] * x[1]}; }, x, mesh);
      check_operator(
          "div", [](const Tensors& x) { return Tensors{x[0] / (x[1].square() + 1)}; }, x, mesh);
      check_operator(
          "maximum", [](const Tensors& x) { return Tensors{at::maximum(x[0], x[1])}; }, x, mesh);
      check_operator(
          "where", [](const Tensors& x) { return Tensors{at::where(x[0] > 0, x[0], x[1])}; }, x, mesh);
      check_operator(
          "lerp", [](const Tensors& x) { return Tensors{at::lerp(x[0], x[1].expand_as(x[0]), 0.25)}; }, x, mesh);
    }
    check_operator(
        "masked_fill", [](const Tensors& x) { return Tensors{at::masked_fill(x[0], x[1].lt(0), 0)}; }, same, mesh);
  });
}

TEST(DTensorPointwise, ANumberGoesWithAnyTensor) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const at::Tensor factor = at::full({}, 2.5);
    check_operator(
        "mul", [&](const Tensors& x) { return Tensors{x[0] * factor}; }, {random({3, 4}, 1)}, mesh);
    check_operator(
        "0-dimensional", [](const Tensors& x) { return Tensors{x[0] * x[1]}; }, {random({}, 1), random({3}, 2)}, mesh);
  });
}

TEST(DTensorPointwise, InPlaceAndOutReturnTheSameTensor) {
  on_meshes([](const dtensor::Mesh& mesh) {
    const at::Tensor whole = random({5, 4}, 1), other = random({5, 4}, 2);
    for (const dtensor::Placement& placement : {dtensor::replicate(), dtensor::shard(0), dtensor::shard(1)}) {
      const dtensor::Placements placements(mesh.num_axes(), placement);
      at::Tensor x = place(whole, mesh, placements);
      const at::Tensor y = place(other, mesh, dtensor::Placements(mesh.num_axes(), dtensor::shard(1)));
      const at::TensorImpl* const impl = x.unsafeGetTensorImpl();
      EXPECT_EQ(x.mul_(y).add_(y, 2).unsafeGetTensorImpl(), impl);
      EXPECT_EQ(dtensor::placements_of(x), placements);
      EXPECT_TRUE(at::allclose(dtensor::full_tensor(x), whole * other + 2 * other));

      at::Tensor out = place(at::zeros({5, 4}), mesh, placements);
      EXPECT_EQ(at::add_out(out, x, y).unsafeGetTensorImpl(), out.unsafeGetTensorImpl());
      EXPECT_EQ(dtensor::placements_of(out), placements);
      EXPECT_TRUE(at::allclose(dtensor::full_tensor(out), whole * other + 3 * other));
    }
  });
}

// ATen's composite operators do that with what they have just made.
TEST(DTensorPointwise, TermsThatAreWrittenByAnOperatorThatIsNotLinearAreReduced) {
  on_mesh({2}, [](const dtensor::Mesh& mesh) {
    const at::Tensor whole = random({3, 4}, 1);
    at::Tensor x = place(whole, mesh, {dtensor::partial()});
    x.mul_(2.0);
    EXPECT_EQ(dtensor::placements_of(x), dtensor::Placements{dtensor::partial()});
    x.exp_();
    EXPECT_FALSE(dtensor::placements_of(x)[0].is_partial());
    EXPECT_TRUE(at::allclose(dtensor::full_tensor(x), (whole * 2).exp()));
  });
}

TEST(DTensorPointwise, TermsThatOthersShareAreNotReducedInPlace) {
  on_mesh({2}, [](const dtensor::Mesh& mesh) {
    at::Tensor x = place(random({3, 4}, 1), mesh, {dtensor::partial()});
    const at::Tensor view = x.t();
    try {
      x.exp_();
      ADD_FAILURE() << "expected an error";
    } catch (const c10::NotImplementedError& error) {
      EXPECT_NE(std::string(error.what()).find("aten::exp_"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("P(sum)"), std::string::npos) << error.what();
    }
  });
}

TEST(DTensorPointwise, APlainTensorIsRefusedByName) {
  on_mesh({2}, [](const dtensor::Mesh& mesh) {
    const at::Tensor x = place(random({3, 4}, 1), mesh, {dtensor::shard(0)});
    try {
      x + at::ones({3, 4});
      ADD_FAILURE() << "expected an error";
    } catch (const c10::ValueError& error) {
      EXPECT_NE(std::string(error.what()).find("aten::add.Tensor"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("plain Float[3, 4]"), std::string::npos) << error.what();
    }
  });
}

}  // namespace
}  // namespace titan::test
