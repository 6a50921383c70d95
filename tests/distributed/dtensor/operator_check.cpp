#include "tests/distributed/dtensor/operator_check.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/randn_like.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "tests/support/runs_all.h"
#include "tests/support/tensors.h"

namespace titan::test {
namespace {

using dtensor::Placements;

// Every choice of one placement per axis. Strided shards come on one axis only: with two, all placements of three
// operands would be eight hundred thousand combinations.
std::vector<Placements> placements_on_mesh(const at::Tensor& tensor, int64_t num_axes, bool with_partial) {
  std::vector<Placements> all{{}};
  for (int64_t axis = 0; axis < num_axes; ++axis) {
    std::vector<Placements> longer;
    for (const Placements& placements : all) {
      for (const dtensor::Placement& placement : placements_on_axis(tensor, with_partial)) {
        if (placement.split_factor > 1 && num_axes > 1) continue;
        longer.push_back(placements);
        longer.back().push_back(placement);
      }
    }
    all = std::move(longer);
  }
  return all;
}

bool differentiable(const at::Tensor& tensor) { return tensor.is_floating_point() || tensor.is_complex(); }

// Without communication but for terms, which only their sum can tell: each rank looks at its own part.
void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_TRUE(dtensor::is_dtensor(actual)) << what << ": expected a DTensor";
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  ASSERT_EQ(actual.scalar_type(), expected.scalar_type()) << what;
  const at::NoGradGuard no_grad;
  const Placements& placements = dtensor::placements_of(actual);
  const bool has_terms = std::any_of(placements.begin(), placements.end(),
                                     [](const dtensor::Placement& placement) { return placement.is_partial(); });
  at::Tensor mine, right = expected.detach();
  if (has_terms) {
    mine = dtensor::full_tensor(actual);
  } else {
    mine = dtensor::local_of(actual);
    right = dtensor::local_of(
        dtensor::distribute_tensor(right, dtensor::mesh_of(actual), placements, {.broadcast = false}));
  }
  ASSERT_EQ(mine.sizes(), right.sizes()) << what << " of " << to_string(dtensor::spec_of(actual));
  EXPECT_TRUE(at::allclose(mine, right, tolerance, tolerance, /*equal_nan=*/true))
      << what << " of " << to_string(dtensor::spec_of(actual)) << (has_terms ? ", whole" : ", this rank's part")
      << ":\n"
      << mine << "\nexpected\n"
      << right;
}

struct Expected {
  Tensors outputs, grad_outputs, grad_inputs;
};

Tensors gradients(const Tensors& outputs, const Tensors& inputs, const Tensors& grad_outputs) {
  Tensors roots, grads, leaves;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].requires_grad()) continue;
    roots.push_back(outputs[i]);
    grads.push_back(grad_outputs[i]);
  }
  for (const at::Tensor& input : inputs) {
    if (input.requires_grad()) leaves.push_back(input);
  }
  if (roots.empty()) return {};
  return torch::autograd::grad(roots, leaves, grads, std::nullopt, false, /*allow_unused=*/true);
}

}  // namespace

dtensor::Placements placements_on_axis(const at::Tensor& tensor, bool with_partial) {
  Placements placements{dtensor::replicate()};
  for (int64_t dim = 0; dim < tensor.dim(); ++dim) placements.push_back(dtensor::shard(dim));
  if (tensor.dim() > 0) placements.push_back(dtensor::strided_shard(0, 2));
  if (with_partial && differentiable(tensor)) {
    placements.push_back(dtensor::partial());
    placements.push_back(dtensor::partial(dtensor::ReduceOp::kAvg));
  }
  return placements;
}

at::Tensor place(const at::Tensor& whole, const dtensor::Mesh& mesh, const dtensor::Placements& placements) {
  const at::NoGradGuard no_grad;
  // Terms first, shards of them after: rank r of n has whole + (r - (n - 1) / 2) * noise; of a sum, the n-th part.
  at::Tensor mine = whole.detach().clone();
  const at::Tensor noise = differentiable(whole) ? random(whole.sizes(), 17).to(whole.scalar_type()) : at::Tensor();
  for (size_t axis = 0; axis < placements.size(); ++axis) {
    if (!placements[axis].is_partial()) continue;
    const auto n = static_cast<double>(mesh.size(static_cast<int64_t>(axis)));
    const double step = static_cast<double>(mesh.coordinate(static_cast<int64_t>(axis))) - (n - 1) / 2;
    const bool is_sum = placements[axis].reduce_op == dtensor::ReduceOp::kSum;
    mine = (mine + noise * step) / (is_sum ? n : 1.0);
  }
  Placements shards = placements;
  for (dtensor::Placement& placement : shards) {
    if (placement.is_partial()) placement = dtensor::replicate();
  }
  const at::Tensor sharded = dtensor::distribute_tensor(mine, mesh, shards, {.broadcast = false});
  return dtensor::from_local(dtensor::local_of(sharded), mesh, placements, whole.sizes());
}

void check_operator(const std::string& name, const Function& function, const Tensors& inputs, const dtensor::Mesh& mesh,
                    const OperatorCheckOptions& options) {
  // 1. On plain tensors.
  Tensors plain;
  for (const at::Tensor& input : inputs) {
    plain.push_back(input.detach().clone().set_requires_grad(options.backward && differentiable(input)));
  }
  Expected expected;
  expected.outputs = function(plain);
  uint64_t seed = 100;
  for (const at::Tensor& output : expected.outputs) {
    expected.grad_outputs.push_back(differentiable(output) ? random(output.sizes(), seed++).to(output.scalar_type())
                                                           : at::Tensor());
  }
  if (options.backward) expected.grad_inputs = gradients(expected.outputs, plain, expected.grad_outputs);

  // 2. All ways of placing each input, and all combinations of these, or some of them.
  std::vector<std::vector<Placements>> ways;
  size_t num_choices = 1;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool as_the_first = i > 0 && options.shared_placements;
    ways.push_back(as_the_first ? ways.front()
                                : placements_on_mesh(inputs[i], mesh.num_axes(), options.partial_inputs));
    if (!as_the_first) num_choices *= ways.back().size();
  }
  std::vector<size_t> choices(num_choices);
  std::iota(choices.begin(), choices.end(), 0);
  if (num_choices > options.num_samples && !test::runs_all()) {
    std::mt19937 generator(7);  // the same on every rank
    std::shuffle(choices.begin(), choices.end(), generator);
    choices.resize(options.num_samples);
  }
  std::vector<std::vector<at::Tensor>> placed_in(inputs.size());  // by input and way; made when first asked for
  for (size_t i = 0; i < inputs.size(); ++i) placed_in[i].resize(ways[i].size());

  // 3. On DTensors.
  for (size_t choice : choices) {
    std::string what = name + " on";
    Tensors placed;
    for (size_t i = 0, way = 0; i < inputs.size(); ++i) {
      if (i == 0 || !options.shared_placements) {
        way = choice % ways[i].size();
        choice /= ways[i].size();
      }
      what += " " + to_string(ways[i][way]);
      if (!placed_in[i][way].defined()) placed_in[i][way] = place(inputs[i], mesh, ways[i][way]);
      placed.push_back(placed_in[i][way].clone().set_requires_grad(plain[i].requires_grad()));  // may be written to
    }
    SCOPED_TRACE(what + " over " + mesh.name());
    try {
      const Tensors outputs = function(placed);
      ASSERT_EQ(outputs.size(), expected.outputs.size());
      for (size_t i = 0; i < outputs.size(); ++i) {
        expect_close(outputs[i], expected.outputs[i], options.tolerance, "output " + std::to_string(i));
      }
      if (!options.backward) continue;
      Tensors grad_outputs;
      for (size_t i = 0; i < outputs.size(); ++i) {
        const bool needs = outputs[i].requires_grad();
        ASSERT_EQ(needs, expected.outputs[i].requires_grad());
        grad_outputs.push_back(needs ? dtensor::distribute_tensor(expected.grad_outputs[i], mesh,
                                                                  Placements(mesh.num_axes()), {.broadcast = false})
                                     : at::Tensor());
      }
      const Tensors grads = gradients(outputs, placed, grad_outputs);
      ASSERT_EQ(grads.size(), expected.grad_inputs.size());
      for (size_t i = 0; i < grads.size(); ++i) {
        ASSERT_EQ(grads[i].defined(), expected.grad_inputs[i].defined());
        if (!grads[i].defined()) continue;
        expect_close(grads[i], expected.grad_inputs[i], options.tolerance, "gradient " + std::to_string(i));
      }
    } catch (const c10::Error& error) {
      ADD_FAILURE() << error.what_without_backtrace();
    }
  }
}

}  // namespace titan::test
