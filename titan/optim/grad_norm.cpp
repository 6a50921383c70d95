#include "titan/optim/grad_norm.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>

#include <cmath>
#include <vector>

#include "titan/kernels/sum_of_squares.h"

namespace titan::optim {

double global_norm(std::span<const at::Tensor> gradients) {
  double sum = 0;
  for (const at::Tensor& gradient : gradients) sum += kernels::sum_of_squares(gradient);
  return std::sqrt(sum);
}

void clip_by_norm(std::span<const at::Tensor> gradients, double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  if (gradients.empty() || !(factor < 1)) return;
  at::NoGradGuard no_grad;
  at::_foreach_mul_(at::TensorList(gradients.data(), gradients.size()), factor);
}

}  // namespace titan::optim
