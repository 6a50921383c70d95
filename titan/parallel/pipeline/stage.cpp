#include "titan/parallel/pipeline/stage.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/variable.h>

#include <utility>

namespace titan::pipeline {

void Stage::begin(Forward forward) {
  TORCH_INTERNAL_ASSERT(passed_.empty() && put_off_.empty(), "stage ", index_,
                        ": a run begins while another one is under way");
  forward_ = std::move(forward);
}

at::Tensor Stage::forward(int64_t microbatch, const at::Tensor& input) {
  if (!at::GradMode::is_enabled()) return forward_(microbatch, input);
  at::Tensor leaf;
  if (input.defined()) leaf = input.detach().set_requires_grad(true);
  at::Tensor output = forward_(microbatch, leaf);
  TORCH_INTERNAL_ASSERT(output.requires_grad(), "stage ", index_, " has no parameter to train");
  Passed passed{leaf, torch::autograd::impl::gradient_edge(output), output.options()};
  const bool is_new = passed_.try_emplace(microbatch, std::move(passed)).second;
  TORCH_INTERNAL_ASSERT(is_new, "stage ", index_, ", microbatch ", microbatch, ": a second forward");
  return output.detach();
}

at::Tensor Stage::backward(int64_t microbatch, const at::Tensor& grad_output) {
  auto passed = passed_.extract(microbatch);
  TORCH_INTERNAL_ASSERT(!passed.empty(), "stage ", index_, ", microbatch ", microbatch, ": no forward to go back over");
  auto& [input, output, options] = passed.mapped();
  const at::Tensor root = grad_output.defined() ? grad_output : at::ones({}, options);
  torch::autograd::Engine::get_default_engine().execute({output}, {root}, /*keep_graph=*/false,
                                                        /*create_graph=*/false, /*accumulate_grad=*/true);
  return input.defined() ? input.grad() : at::Tensor();
}

at::Tensor Stage::backward_input(int64_t microbatch, const at::Tensor& grad_output) {
  TORCH_INTERNAL_ASSERT(weight_gradients_ != nullptr, "stage ", index_, " cannot split its backward");
  weight_gradients_->put_off(true);
  at::Tensor grad_input = backward(microbatch, grad_output);
  weight_gradients_->put_off(false);
  put_off_[microbatch] = weight_gradients_->take();
  return grad_input;
}

void Stage::backward_weight(int64_t microbatch) {
  auto products = put_off_.extract(microbatch);
  TORCH_INTERNAL_ASSERT(!products.empty(), "stage ", index_, ", microbatch ", microbatch, ": W without its I");
  nn::compute(std::move(products.mapped()));
}

}  // namespace titan::pipeline
