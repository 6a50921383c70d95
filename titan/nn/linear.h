// y = x W^T (+ b).
#pragma once

#include "titan/nn/module.h"

namespace titan::nn {

class WeightGradientQueue;

class Linear : public Callable<Linear> {
 public:
  Linear(int64_t in_features, int64_t out_features, at::ScalarType dtype, bool bias = false);

  // x: [..., in_features] -> [..., out_features]
  virtual at::Tensor forward(const at::Tensor& x);

  // From here on, the backward leaves it to `queue` when the weight's gradient is computed.
  void set_weight_gradient_queue(std::shared_ptr<WeightGradientQueue> queue) { queue_ = std::move(queue); }

  Parameter weight;                 // [out_features, in_features]
  std::unique_ptr<Parameter> bias;  // [out_features], or null

 private:
  std::shared_ptr<WeightGradientQueue> queue_;  // or null: at once
};

}  // namespace titan::nn
