#include "titan/optim/grad_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/sqrt.h>

#include "titan/kernels/sum_of_squares.h"

namespace titan::optim {

at::Tensor global_norm(std::span<const at::Tensor> gradients) {
  const at::NoGradGuard no_grad;
  return at::sqrt(kernels::sum_of_squares(at::TensorList(gradients.data(), gradients.size())));
}

void clip_by_norm(std::span<const at::Tensor> gradients, const at::Tensor& norm, double max_norm) {
  if (gradients.empty()) return;
  const at::NoGradGuard no_grad;
  const at::TensorList list(gradients.data(), gradients.size());
  const at::Tensor factor = at::reciprocal(norm + 1e-6) * max_norm;
  if (norm.is_cpu()) {
    // Read here, it saves a pass over the gradients.
    const double value = factor.item<double>();
    if (value < 1) at::_foreach_mul_(list, value);
    return;
  }
  at::_foreach_mul_(list, at::clamp_max(factor, 1.0).to(at::kFloat));
}

}  // namespace titan::optim
