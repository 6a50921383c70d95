#include "titan/kernels/operators.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <string>

namespace titan::kernels {
namespace {

torch::Library define_operators() {
  torch::Library library(torch::Library::DEF, "titan", std::nullopt, __FILE__, __LINE__);
  library.def("sum_of_squares(Tensor[] tensors) -> Tensor");
  library.def(
      "random_normal_(Tensor(a!) x, int seed, int stream, float mean, float std, float low, float high, int[] whole, "
      "int[] offsets) -> Tensor(a!)");
  return library;
}

torch::Library register_cpu_kernels() {
  torch::Library library(torch::Library::IMPL, "titan", c10::DispatchKey::CPU, __FILE__, __LINE__);
  library.impl("sum_of_squares", sum_of_squares_cpu);
  library.impl("random_normal_", random_normal_cpu);
  return library;
}

}  // namespace

c10::OperatorHandle find_operator(const char* name) {
  static const torch::Library definitions = define_operators();
  static const torch::Library cpu_kernels = register_cpu_kernels();
  return c10::Dispatcher::singleton().findSchemaOrThrow((std::string("titan::") + name).c_str(), "");
}

}  // namespace titan::kernels
