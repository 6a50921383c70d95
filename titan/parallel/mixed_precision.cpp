#include "titan/parallel/mixed_precision.h"

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "titan/nn/module.h"

namespace titan::parallel {

void apply_mixed_precision(nn::Module& module, at::ScalarType dtype) {
  // What the slots hold while they do not hold the copies.
  auto masters = std::make_shared<std::vector<at::Tensor>>();
  const auto cast = [masters, dtype](nn::Module& used) {
    for (nn::Parameter* parameter : used.parameters(/*with_tied=*/true)) {
      masters->push_back(parameter->get());
      parameter->set(parameter->get().to(dtype));
    }
  };
  const auto restore = [masters](nn::Module& used) {
    const auto parameters = used.parameters(/*with_tied=*/true);
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i]->set(std::move((*masters)[i]));
    masters->clear();
  };
  module.register_use_hooks(cast, restore);
}

}  // namespace titan::parallel
