#include "titan/kernels/rms_norm.h"

#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_fused_rms_norm.h>
#include <ATen/ops/_fused_rms_norm_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "titan/kernels/cpu/loops.h"
#include "titan/kernels/cpu/rms_norm.h"
#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

void check(const at::Tensor& x, const at::Tensor& weight) {
  TORCH_CHECK_VALUE(x.dim() >= 1 && weight.dim() == 1 && weight.size(0) == x.size(-1),
                    "rms_norm: expected x [..., dim] and weight [dim], got ", x.sizes(), " and ", weight.sizes());
}

bool has_loops(const at::Tensor& x, const at::Tensor& weight) {
  return x.scalar_type() == weight.scalar_type() && cpu::has_floats(x.scalar_type());
}

void check_sum(const at::Tensor& x, const at::Tensor& delta) {
  TORCH_CHECK_VALUE(x.sizes() == delta.sizes() && x.scalar_type() == delta.scalar_type(),
                    "rms_norm_of_sum: expected x and delta of one shape and dtype, got ", x.sizes(), " ",
                    x.scalar_type(), " and ", delta.sizes(), " ", delta.scalar_type());
}

// A number for each row, for [..., dim].
at::Tensor beside(const at::Tensor& of_rows) { return of_rows.unsqueeze(-1); }

constexpr int64_t kMostParts = 64;

// Rows whose share of the weight's gradient is summed before it is added to that of others. Fixed by the number of
// rows, so that no sum depends on the number of threads.
int64_t rows_per_part(int64_t num_rows) {
  constexpr int64_t kFewest = 16;
  return std::max(kFewest, (num_rows + kMostParts - 1) / kMostParts);
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            double eps) {
    static const auto op =
        find_operator("rms_norm")
            .typed<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&, double)>();
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [y, rstd] = op.call(x, weight, eps);
    context->save_for_backward({x, weight, rstd});
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    static const auto op = find_operator("rms_norm_backward")
                               .typed<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&,
                                                                         const at::Tensor&, const at::Tensor&)>();
    require_first_derivative("rms_norm");
    const auto saved = context->get_saved_variables();
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [grad_x, grad_weight] = op.call(gradients[0], saved[0], saved[1], saved[2]);
    return {grad_x, grad_weight, {}};
  }
};

struct RmsNormOfSum : torch::autograd::Function<RmsNormOfSum> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                                                const at::Tensor& delta, const at::Tensor& weight, double eps) {
    static const auto op = find_operator("rms_norm_of_sum")
                               .typed<std::tuple<at::Tensor, at::Tensor, at::Tensor>(
                                   const at::Tensor&, const at::Tensor&, const at::Tensor&, double)>();
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [sum, y, rstd] = op.call(x, delta, weight, eps);
    context->save_for_backward({sum, weight, rstd});
    context->set_materialize_grads(false);
    return {sum, y};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    using Backward =
        std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&);
    using BackwardOfSum = std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                             const at::Tensor&, const at::Tensor&);
    static const auto of_norm = find_operator("rms_norm_backward").typed<Backward>();
    static const auto of_both = find_operator("rms_norm_of_sum_backward").typed<BackwardOfSum>();
    require_first_derivative("rms_norm_of_sum");
    const at::Tensor &grad_sum = gradients[0], &grad_y = gradients[1];
    if (!grad_y.defined()) return {grad_sum, grad_sum, {}, {}};
    const auto saved = context->get_saved_variables();
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto [grad_x, grad_weight] = grad_sum.defined() ? of_both.call(grad_sum, grad_y, saved[0], saved[1], saved[2])
                                                          : of_norm.call(grad_y, saved[0], saved[1], saved[2]);
    return {grad_x, grad_x, grad_weight, {}};
  }
};

std::tuple<at::Tensor, at::Tensor> run_forward(cpu::RmsNormForward call, const at::Tensor& rows,
                                               const at::Tensor& weight, double eps) {
  const at::Tensor scale = weight.contiguous();
  const at::Tensor y = at::empty(rows.sizes(), rows.options());
  const at::Tensor rstd = at::empty(rows.sizes().slice(0, rows.dim() - 1), rows.options().dtype(at::kFloat));
  call.dtype = rows.scalar_type();
  call.dim = rows.size(-1);
  call.eps = static_cast<float>(eps);
  call.x = rows.const_data_ptr();
  call.weight = scale.const_data_ptr();
  call.y = y.mutable_data_ptr();
  call.rstd = rstd.mutable_data_ptr<float>();
  const auto forward = cpu::loops<cpu::RmsNormLoops>().forward;
  at::parallel_for(0, rstd.numel(), cpu::rows_worth_a_thread(call.dim),
                   [&](int64_t begin, int64_t end) { forward(call, begin, end); });
  return {y, rstd};
}

// grad_sum: contiguous, or undefined.
std::tuple<at::Tensor, at::Tensor> run_backward(const at::Tensor& grad_sum, const at::Tensor& grad, const at::Tensor& x,
                                                const at::Tensor& weight, const at::Tensor& rstd) {
  const at::Tensor grad_rows = grad.contiguous(), rows = x.contiguous(), scale = weight.contiguous();
  const at::Tensor grad_x = at::empty(x.sizes(), x.options());
  const cpu::RmsNormBackward call{.dtype = x.scalar_type(),
                                  .dim = x.size(-1),
                                  .grad_y = grad_rows.const_data_ptr(),
                                  .grad_sum = grad_sum.defined() ? grad_sum.const_data_ptr() : nullptr,
                                  .x = rows.const_data_ptr(),
                                  .weight = scale.const_data_ptr(),
                                  .rstd = rstd.const_data_ptr<float>(),
                                  .grad_x = grad_x.mutable_data_ptr()};
  const int64_t num_rows = rstd.numel(), part_size = rows_per_part(num_rows);
  const int64_t num_parts = (num_rows + part_size - 1) / part_size;
  const at::Tensor parts = at::zeros({num_parts, call.dim}, at::kFloat);
  float* const sums = parts.mutable_data_ptr<float>();
  const auto backward = cpu::loops<cpu::RmsNormLoops>().backward;
  at::parallel_for(0, num_parts, cpu::rows_worth_a_thread(call.dim * part_size), [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      backward(call, part * part_size, std::min(num_rows, (part + 1) * part_size), sums + part * call.dim);
    }
  });
  return {grad_x, parts.sum(0).to(weight.scalar_type())};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> rms_norm_composite(const at::Tensor& x, const at::Tensor& weight, double eps) {
  check(x, weight);
  if (x.is_cuda()) {
    auto [y, rstd] = at::_fused_rms_norm(x, weight.sizes(), weight, eps);
    return {y, rstd.squeeze(-1)};
  }
  const at::Tensor wide = x.contiguous().to(at::toOpMathType(x.scalar_type()));
  const at::Tensor rstd = at::rsqrt(at::mean(wide * wide, -1) + eps);
  return {(wide * beside(rstd) * weight).to(x.scalar_type()), rstd};
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward_composite(const at::Tensor& grad, const at::Tensor& x,
                                                               const at::Tensor& weight, const at::Tensor& rstd) {
  if (x.is_cuda()) return at::_fused_rms_norm_backward(grad, x, weight.sizes(), beside(rstd), weight, {true, true});
  const at::ScalarType wide = at::toOpMathType(x.scalar_type());
  const at::Tensor grad_y = grad.contiguous().to(wide), normalized = x.contiguous().to(wide) * beside(rstd);
  const at::Tensor grad_normalized = grad_y * weight;
  const at::Tensor mean = at::mean(grad_normalized * normalized, -1, /*keepdim=*/true);
  const at::Tensor grad_x = (grad_normalized - normalized * mean) * beside(rstd);
  const at::Tensor grad_weight = (grad_y * normalized).flatten(0, -2).sum(0);
  return {grad_x.to(x.scalar_type()), grad_weight.to(weight.scalar_type())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> rms_norm_of_sum_composite(const at::Tensor& x, const at::Tensor& delta,
                                                                         const at::Tensor& weight, double eps) {
  check_sum(x, delta);
  const at::Tensor sum = x + delta;
  auto [y, rstd] = rms_norm_composite(sum, weight, eps);
  return {sum, y, rstd};
}

std::tuple<at::Tensor, at::Tensor> rms_norm_of_sum_backward_composite(const at::Tensor& grad_sum,
                                                                      const at::Tensor& grad, const at::Tensor& sum,
                                                                      const at::Tensor& weight,
                                                                      const at::Tensor& rstd) {
  auto [grad_x, grad_weight] = rms_norm_backward_composite(grad, sum, weight, rstd);
  return {grad_x + grad_sum, grad_weight};
}

std::tuple<at::Tensor, at::Tensor> rms_norm_cpu(const at::Tensor& x, const at::Tensor& weight, double eps) {
  check(x, weight);
  if (!has_loops(x, weight)) return rms_norm_composite(x, weight, eps);
  return run_forward({}, x.contiguous(), weight, eps);
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward_cpu(const at::Tensor& grad, const at::Tensor& x,
                                                         const at::Tensor& weight, const at::Tensor& rstd) {
  if (!has_loops(x, weight)) return rms_norm_backward_composite(grad, x, weight, rstd);
  return run_backward({}, grad, x, weight, rstd);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> rms_norm_of_sum_cpu(const at::Tensor& x, const at::Tensor& delta,
                                                                   const at::Tensor& weight, double eps) {
  check(x, weight);
  check_sum(x, delta);
  if (!has_loops(x, weight)) return rms_norm_of_sum_composite(x, delta, weight, eps);
  const at::Tensor rows = x.contiguous(), delta_rows = delta.contiguous();
  const at::Tensor sum = at::empty(x.sizes(), x.options());
  auto [y, rstd] =
      run_forward({.delta = delta_rows.const_data_ptr(), .sum = sum.mutable_data_ptr()}, rows, weight, eps);
  return {sum, y, rstd};
}

std::tuple<at::Tensor, at::Tensor> rms_norm_of_sum_backward_cpu(const at::Tensor& grad_sum, const at::Tensor& grad,
                                                                const at::Tensor& sum, const at::Tensor& weight,
                                                                const at::Tensor& rstd) {
  if (!has_loops(sum, weight)) return rms_norm_of_sum_backward_composite(grad_sum, grad, sum, weight, rstd);
  return run_backward(grad_sum.contiguous(), grad, sum, weight, rstd);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return RmsNorm::apply(x, weight, eps);
}

std::pair<at::Tensor, at::Tensor> rms_norm_of_sum(const at::Tensor& x, const at::Tensor& delta,
                                                  const at::Tensor& weight, double eps) {
  const auto results = RmsNormOfSum::apply(x, delta, weight, eps);
  return {results[0], results[1]};
}

}  // namespace titan::kernels
