#include "titan/kernels/swiglu.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <torch/csrc/autograd/custom_function.h>

#include "titan/kernels/cpu/loops.h"
#include "titan/kernels/cpu/swiglu.h"
#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

void check(const at::Tensor& gate, const at::Tensor& up) {
  TORCH_CHECK_VALUE(gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type(),
                    "swiglu: expected gate and up of one shape and dtype, got ", gate.sizes(), " ", gate.scalar_type(),
                    " and ", up.sizes(), " ", up.scalar_type());
}

struct Swiglu : torch::autograd::Function<Swiglu> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& gate, const at::Tensor& up) {
    static const auto op = find_operator("swiglu").typed<at::Tensor(const at::Tensor&, const at::Tensor&)>();
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    context->save_for_backward({gate, up});
    return op.call(gate, up);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    static const auto op =
        find_operator("swiglu_backward")
            .typed<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&, const at::Tensor&)>();
    require_first_derivative("swiglu");
    const auto saved = context->get_saved_variables();
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [grad_gate, grad_up] = op.call(gradients[0], saved[0], saved[1]);
    return {grad_gate, grad_up};
  }
};

}  // namespace

at::Tensor swiglu_composite(const at::Tensor& gate, const at::Tensor& up) {
  check(gate, up);
  return at::silu(gate.contiguous()) * up.contiguous();
}

std::tuple<at::Tensor, at::Tensor> swiglu_backward_composite(const at::Tensor& grad, const at::Tensor& gate,
                                                             const at::Tensor& up) {
  const at::Tensor grad_y = grad.contiguous(), g = gate.contiguous();
  return {at::silu_backward(grad_y * up.contiguous(), g), grad_y * at::silu(g)};
}

at::Tensor swiglu_cpu(const at::Tensor& gate, const at::Tensor& up) {
  check(gate, up);
  if (!cpu::has_floats(gate.scalar_type())) return swiglu_composite(gate, up);
  const at::Tensor g = gate.contiguous(), u = up.contiguous();
  at::Tensor y = at::empty(gate.sizes(), gate.options());
  const auto forward = cpu::loops<cpu::SwigluLoops>().forward;
  at::parallel_for(0, y.numel(), cpu::rows_worth_a_thread(1), [&](int64_t begin, int64_t end) {
    forward(y.scalar_type(), g.const_data_ptr(), u.const_data_ptr(), y.mutable_data_ptr(), begin, end);
  });
  return y;
}

std::tuple<at::Tensor, at::Tensor> swiglu_backward_cpu(const at::Tensor& grad, const at::Tensor& gate,
                                                       const at::Tensor& up) {
  if (!cpu::has_floats(gate.scalar_type())) return swiglu_backward_composite(grad, gate, up);
  const at::Tensor grad_y = grad.contiguous(), g = gate.contiguous(), u = up.contiguous();
  const at::Tensor grad_gate = at::empty(gate.sizes(), gate.options());
  const at::Tensor grad_up = at::empty(gate.sizes(), gate.options());
  const auto backward = cpu::loops<cpu::SwigluLoops>().backward;
  at::parallel_for(0, g.numel(), cpu::rows_worth_a_thread(1), [&](int64_t begin, int64_t end) {
    backward(g.scalar_type(), grad_y.const_data_ptr(), g.const_data_ptr(), u.const_data_ptr(),
             grad_gate.mutable_data_ptr(), grad_up.mutable_data_ptr(), begin, end);
  });
  return {grad_gate, grad_up};
}

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) { return Swiglu::apply(gate, up); }

}  // namespace titan::kernels
