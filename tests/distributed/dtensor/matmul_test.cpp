// Products of matrices at every placement, against plain tensors.
#include <ATen/ops/addmm.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mv.h>
#include <gtest/gtest.h>

#include "tests/distributed/dtensor/meshes.h"
#include "tests/distributed/dtensor/operator_check.h"
#include "tests/support/tensors.h"

namespace titan::test {
namespace {

TEST(DTensorMatmul, EqualsThePlainProductAtEveryPlacement) {
  on_meshes([](const dtensor::Mesh& mesh) {
    check_operator(
        "mm", [](const Tensors& x) { return Tensors{at::mm(x[0], x[1])}; }, {random({4, 5}, 1), random({5, 7}, 2)},
        mesh);
    check_operator(
        "bmm", [](const Tensors& x) { return Tensors{at::bmm(x[0], x[1])}; },
        {random({2, 4, 5}, 1), random({2, 5, 3}, 2)}, mesh);
    check_operator(
        "addmm", [](const Tensors& x) { return Tensors{at::addmm(x[0], x[1], x[2])}; },
        {random({7}, 3), random({4, 5}, 1), random({5, 7}, 2)}, mesh);
    check_operator(
        "baddbmm", [](const Tensors& x) { return Tensors{at::baddbmm(x[0], x[1], x[2])}; },
        {random({2, 1, 3}, 3), random({2, 4, 5}, 1), random({2, 5, 3}, 2)}, mesh);
    check_operator(
        "linear", [](const Tensors& x) { return Tensors{at::linear(x[0], x[1])}; },
        {random({2, 6, 5}, 1), random({4, 5}, 2)}, mesh);
    check_operator(
        "linear with bias", [](const Tensors& x) { return Tensors{at::linear(x[0], x[1], x[2])}; },
        {random({2, 6, 5}, 1), random({4, 5}, 2), random({4}, 3)}, mesh);
    check_operator(
        "mv", [](const Tensors& x) { return Tensors{at::mv(x[0], x[1])}; }, {random({4, 5}, 1), random({5}, 2)}, mesh);
    check_operator(
        "dot", [](const Tensors& x) { return Tensors{at::dot(x[0], x[1])}; }, {random({5}, 1), random({5}, 2)}, mesh);
  });
}

}  // namespace
}  // namespace titan::test
