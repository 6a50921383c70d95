#include "titan/kernels/cuda_operators.h"

#include <torch/library.h>

#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

torch::Library make() {
  torch::Library library(torch::Library::IMPL, "titan", c10::DispatchKey::CUDA, __FILE__, __LINE__);
  library.impl("sum_of_squares", sum_of_squares_cuda);
  library.impl("random_normal_", random_normal_cuda);
  return library;
}

}  // namespace

void register_cuda_kernels() { static const torch::Library library = make(); }

}  // namespace titan::kernels
