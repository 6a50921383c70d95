// Linear layers in whose places parallelize_module puts these, so that communication overlaps their products
// (overlapped_matmul.h). What they compute is what a linear layer between a gather and a scatter computes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "titan/nn/linear.h"

namespace titan::parallel {

// One of several layers that use one gathered input: its output features are spread. Its product is made when the input
// is gathered, and handed out when the layer is called.
class GatheredLinear : public nn::Linear {
 public:
  // With the parameters of `linear`.
  explicit GatheredLinear(const nn::Linear& linear);

  // Takes this rank's part of the input along `dim` for all of `layers`, and returns the whole input, which each of
  // them must then be called with once.
  static at::Tensor gather(const at::Tensor& part, const std::vector<GatheredLinear*>& layers, int64_t dim);

  // x: what gather() returned -> this rank's output features
  at::Tensor forward(const at::Tensor& x) override;

 private:
  at::Tensor product_;
};

// A layer whose input features are spread: its terms are summed part by part, and this rank keeps its part along `dim`.
class ScatteredLinear : public nn::Linear {
 public:
  ScatteredLinear(const nn::Linear& linear, int64_t dim);
  // x: this rank's input features -> its part of the output
  at::Tensor forward(const at::Tensor& x) override;

 private:
  int64_t dim_;
};

}  // namespace titan::parallel
