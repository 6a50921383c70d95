#include "titan/nn/linear.h"

#include <ATen/ops/linear.h>

#include "titan/nn/weight_gradient_queue.h"

namespace titan::nn {

Linear::Linear(int64_t in_features, int64_t out_features, at::ScalarType dtype, bool with_bias)
    : weight(this, "weight", {out_features, in_features}, dtype) {
  if (with_bias) bias = std::make_unique<Parameter>(this, "bias", at::IntArrayRef{out_features}, dtype);
}

at::Tensor Linear::forward(const at::Tensor& x) {
  if (queue_ != nullptr) return linear(x, weight, bias == nullptr ? at::Tensor() : bias->get(), queue_);
  if (bias == nullptr) return at::linear(x, weight);
  return at::linear(x, weight, bias->get());
}

}  // namespace titan::nn
