// The backward of linear layers in two halves (Qi et al. 2024, arXiv 2401.10241, section 2): the gradient of the input,
// which others wait for, at once; that of the weight, which nobody waits for, when somebody asks. Both are the products
// that the plain backward makes, in its order within a weight, so the sums are bit-equal.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/edge.h>

#include <memory>
#include <vector>

namespace titan::nn {

class WeightGradientQueue {
 public:
  // A product that was put off. Holds the two tensors that it is of.
  struct Product {
    at::Tensor x, grad_output;     // [rows, in features], [rows, out features]
    torch::autograd::Edge weight;  // where its gradient goes
  };

  bool puts_off() const { return puts_off_; }
  // Whether layers that have this queue put their weights' products off from here on.
  void put_off(bool on) { puts_off_ = on; }

  void add(Product product) { products_.push_back(std::move(product)); }
  // What was put off since the last call, in the order of the backward.
  std::vector<Product> take() { return std::move(products_); }

 private:
  bool puts_off_ = false;
  std::vector<Product> products_;
};

// Makes the products and adds them to the weights' gradients.
void compute(std::vector<WeightGradientQueue::Product> products);

// x weight^T (+ bias, if it is defined), whose backward asks `queue` when to multiply for the weight. x: [..., in];
// weight: [out, in]; bias: [out]; plain tensors or DTensors.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  std::shared_ptr<WeightGradientQueue> queue);

}  // namespace titan::nn
