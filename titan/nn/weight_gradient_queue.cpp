#include "titan/nn/weight_gradient_queue.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/reshape.h>
#include <ATen/ops/sum.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <utility>

namespace titan::nn {
namespace {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

at::Tensor rows_of(const at::Tensor& x) { return x.dim() == 2 ? x : x.reshape({-1, x.size(-1)}); }

at::Tensor weight_gradient(const at::Tensor& x, const at::Tensor& grad_output) { return grad_output.t().mm(x); }

// The graph's node of a linear layer.
struct SplitLinear : torch::autograd::Node {
  enum Place : uint8_t { kX, kWeight, kBias };

  SavedVariable x, weight;
  std::shared_ptr<WeightGradientQueue> queue;

  variable_list apply(variable_list&& gradients) override {
    TORCH_CHECK_NOT_IMPLEMENTED(!at::GradMode::is_enabled(), "linear: has no second derivative where it is split");
    variable_list results(3);
    const at::Tensor& grad = gradients.front();
    if (!grad.defined()) return results;
    const at::Tensor rows = rows_of(grad);
    if (task_should_compute_output(kX)) {
      const at::Tensor grad_x = rows.mm(weight.unpack());
      std::vector<int64_t> sizes = grad.sizes().vec();
      sizes.back() = grad_x.size(1);
      results[kX] = grad.dim() == 2 ? grad_x : grad_x.reshape(sizes);
    }
    if (task_should_compute_output(kWeight)) {
      const at::Tensor x_rows = rows_of(x.unpack());
      if (queue->puts_off()) {
        queue->add({x_rows, rows, next_edge(kWeight)});
      } else {
        results[kWeight] = weight_gradient(x_rows, rows);
      }
    }
    if (task_should_compute_output(kBias)) results[kBias] = rows.sum(0);
    return results;
  }

  void release_variables() override {
    x.reset_data();
    weight.reset_data();
  }

  std::string name() const override { return "titan::nn::SplitLinear"; }
};

torch::autograd::Edge edge_of(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.requires_grad()) return {};
  return torch::autograd::impl::gradient_edge(tensor);
}

}  // namespace

void compute(std::vector<WeightGradientQueue::Product> products) {
  const at::NoGradGuard no_grad;
  for (WeightGradientQueue::Product& product : products) {
    at::Tensor gradient = weight_gradient(product.x, product.grad_output);
    product.x.reset();
    product.grad_output.reset();
    const auto& node = product.weight.function;
    if (dynamic_cast<torch::autograd::AccumulateGrad*>(node.get()) != nullptr) {
      variable_list one;
      one.push_back(std::move(gradient));  // the only reference, so that it need not be copied
      (*node)(std::move(one));
    } else {
      // A copy in another dtype that the layer computes with: the gradient goes on from there.
      torch::autograd::Engine::get_default_engine().execute({product.weight}, {gradient}, /*keep_graph=*/false,
                                                            /*create_graph=*/false, /*accumulate_grad=*/true);
    }
  }
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  std::shared_ptr<WeightGradientQueue> queue) {
  const bool records = at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad());
  std::shared_ptr<SplitLinear> node;
  if (records) {
    node = std::make_shared<SplitLinear>();
    node->x = SavedVariable(x, /*is_output=*/false);
    node->weight = SavedVariable(weight, /*is_output=*/false);
    node->queue = std::move(queue);
    node->set_next_edges({edge_of(x), edge_of(weight), edge_of(bias)});
  }
  at::Tensor y;
  {
    const at::NoGradGuard no_grad;
    y = at::linear(x, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
  }
  if (records) torch::autograd::set_history(y, node);
  return y;
}

}  // namespace titan::nn
