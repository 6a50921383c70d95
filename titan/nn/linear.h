// y = x W^T (+ b).
#pragma once

#include "titan/nn/module.h"

namespace titan::nn {

class Linear : public Callable<Linear> {
 public:
  Linear(int64_t in_features, int64_t out_features, at::ScalarType dtype, bool bias = false);

  // x: [..., in_features] -> [..., out_features]
  virtual at::Tensor forward(const at::Tensor& x);

  Parameter weight;                 // [out_features, in_features]
  std::unique_ptr<Parameter> bias;  // [out_features], or null
};

}  // namespace titan::nn
