#include "titan/kernels/operators.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
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
  library.def("rms_norm(Tensor x, Tensor weight, float eps) -> (Tensor y, Tensor rstd)");
  library.def(
      "rms_norm_backward(Tensor grad, Tensor x, Tensor weight, Tensor rstd) -> (Tensor grad_x, Tensor grad_weight)");
  library.def(
      "rms_norm_of_sum(Tensor x, Tensor delta, Tensor weight, float eps) -> (Tensor sum, Tensor y, Tensor rstd)");
  library.def(
      "rms_norm_of_sum_backward(Tensor grad_sum, Tensor grad, Tensor sum, Tensor weight, Tensor rstd) -> "
      "(Tensor grad_x, Tensor grad_weight)");
  library.def(
      "attention(Tensor query, Tensor key, Tensor value, Tensor? first_key, "
      "Tensor? query_starts, Tensor? key_starts, int longest_segment, bool is_causal, int query_offset, "
      "int window, float scale) -> (Tensor out, Tensor logsumexp)");
  library.def(
      "attention_backward(Tensor grad_out, Tensor query, Tensor key, Tensor value, Tensor out, Tensor logsumexp, "
      "Tensor? first_key, "
      "Tensor? query_starts, Tensor? key_starts, int longest_segment, bool is_causal, int query_offset, int window, "
      "float scale) -> (Tensor grad_query, "
      "Tensor grad_key, Tensor grad_value)");
  library.def("swiglu(Tensor gate, Tensor up) -> Tensor");
  library.def("swiglu_backward(Tensor grad, Tensor gate, Tensor up) -> (Tensor grad_gate, Tensor grad_up)");
  library.def("rotary(Tensor x, Tensor turns, bool halves, bool back) -> Tensor");
  library.def(
      "logit_rows(Tensor logits, Tensor labels, int first, int vocabulary, int ignore_index) -> (Tensor largest, "
      "Tensor sum, Tensor label_logit)");
  library.def(
      "logit_gradient_(Tensor(a!) logits, Tensor labels, Tensor largest, Tensor sum, int first, int ignore_index, "
      "float scale) -> Tensor(a!)");
  return library;
}

torch::Library register_cpu_kernels() {
  torch::Library library(torch::Library::IMPL, "titan", c10::DispatchKey::CPU, __FILE__, __LINE__);
  library.impl("sum_of_squares", sum_of_squares_cpu);
  library.impl("random_normal_", random_normal_cpu);
  library.impl("attention", attention_cpu);
  library.impl("attention_backward", attention_backward_cpu);
  library.impl("rms_norm", rms_norm_cpu);
  library.impl("rms_norm_backward", rms_norm_backward_cpu);
  library.impl("rms_norm_of_sum", rms_norm_of_sum_cpu);
  library.impl("rms_norm_of_sum_backward", rms_norm_of_sum_backward_cpu);
  library.impl("swiglu", swiglu_cpu);
  library.impl("swiglu_backward", swiglu_backward_cpu);
  library.impl("rotary", rotary_cpu);
  library.impl("logit_rows", logit_rows_cpu);
  library.impl("logit_gradient_", logit_gradient_cpu);
  return library;
}

// For every device without a kernel of its own.
torch::Library register_composites() {
  torch::Library library(torch::Library::IMPL, "titan", c10::DispatchKey::CompositeExplicitAutograd, __FILE__,
                         __LINE__);
  library.impl("attention", attention_composite);
  library.impl("attention_backward", attention_backward_composite);
  library.impl("rms_norm", rms_norm_composite);
  library.impl("rms_norm_backward", rms_norm_backward_composite);
  library.impl("rms_norm_of_sum", rms_norm_of_sum_composite);
  library.impl("rms_norm_of_sum_backward", rms_norm_of_sum_backward_composite);
  library.impl("swiglu", swiglu_composite);
  library.impl("swiglu_backward", swiglu_backward_composite);
  library.impl("rotary", rotary_composite);
  library.impl("logit_rows", logit_rows_composite);
  library.impl("logit_gradient_", logit_gradient_composite);
  return library;
}

}  // namespace

c10::OperatorHandle find_operator(const char* name) {
  static const torch::Library definitions = define_operators();
  static const torch::Library cpu_kernels = register_cpu_kernels();
  static const torch::Library composites = register_composites();
  return c10::Dispatcher::singleton().findSchemaOrThrow((std::string("titan::") + name).c_str(), "");
}

void require_first_derivative(const char* name) {
  TORCH_CHECK_NOT_IMPLEMENTED(!at::GradMode::is_enabled(), name, ": has no second derivative");
}

}  // namespace titan::kernels
