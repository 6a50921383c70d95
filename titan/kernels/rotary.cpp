#include "titan/kernels/rotary.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/conj_physical.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/view_as_complex.h>
#include <ATen/ops/view_as_real.h>
#include <torch/csrc/autograd/custom_function.h>

#include "titan/kernels/cpu/loops.h"
#include "titan/kernels/cpu/rotary.h"
#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

void check(const at::Tensor& x, const at::Tensor& turns) {
  const bool for_all = turns.dim() == 2, for_each = turns.dim() == 3;
  TORCH_CHECK_VALUE(x.dim() == 4 && x.size(3) % 2 == 0 && (for_all || for_each) && turns.size(-1) == x.size(3) / 2 &&
                        turns.scalar_type() == at::kComplexFloat &&
                        (for_all ? turns.size(0) >= x.size(1) : turns.sizes().slice(0, 2) == x.sizes().slice(0, 2)),
                    "rotary: expected x [batch, seq, heads, head_dim] and complex64 turns [>= seq, head_dim / 2] or "
                    "[batch, seq, head_dim / 2], got ",
                    x.sizes(), " and ", turns.sizes(), " ", turns.scalar_type());
}

at::Tensor turned(const at::Tensor& x, const at::Tensor& turns, bool halves, bool back) {
  static const auto op = find_operator("rotary").typed<at::Tensor(const at::Tensor&, const at::Tensor&, bool, bool)>();
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return op.call(x, turns, halves, back);
}

struct Rotary : torch::autograd::Function<Rotary> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& turns,
                            bool halves) {
    context->save_for_backward({turns});
    context->saved_data["halves"] = halves;
    return turned(x, turns, halves, /*back=*/false);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    require_first_derivative("rotary");
    const at::Tensor turns = context->get_saved_variables().front();
    return {turned(gradients[0], turns, context->saved_data["halves"].toBool(), /*back=*/true), {}, {}};
  }
};

}  // namespace

at::Tensor rotary_composite(const at::Tensor& x, const at::Tensor& turns, bool halves, bool back) {
  check(x, turns);
  if (x.is_meta()) return at::empty(x.sizes(), x.options());
  const int64_t batch = x.size(0), seq = x.size(1), heads = x.size(2), num_pairs = x.size(3) / 2;
  const at::Tensor elements = x.to(at::kFloat).contiguous();
  const at::Tensor pairs = halves ? elements.view({batch, seq, heads, 2, num_pairs}).transpose(3, 4).contiguous()
                                  : elements.view({batch, seq, heads, num_pairs, 2});
  const at::Tensor by = turns.dim() == 3 ? turns.unsqueeze(2) : turns.narrow(0, 0, seq).unsqueeze(1);
  const at::Tensor numbers = at::view_as_real(at::view_as_complex(pairs) * (back ? at::conj_physical(by) : by));
  return (halves ? numbers.transpose(3, 4) : numbers).flatten(3).to(x.scalar_type());
}

at::Tensor rotary_cpu(const at::Tensor& x, const at::Tensor& turns, bool halves, bool back) {
  check(x, turns);
  if (!cpu::has_floats(x.scalar_type())) return rotary_composite(x, turns, halves, back);
  const at::Tensor from = x.stride(3) == 1 ? x : x.contiguous();
  const at::Tensor by = turns.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  const cpu::RotaryCall call{.dtype = x.scalar_type(),
                             .seq = x.size(1),
                             .heads = x.size(2),
                             .head_dim = x.size(3),
                             .batch_stride = from.stride(0),
                             .seq_stride = from.stride(1),
                             .head_stride = from.stride(2),
                             .x = from.const_data_ptr(),
                             .turns = static_cast<const float*>(by.const_data_ptr()),
                             .turns_batch_stride = by.dim() == 3 ? by.size(1) * x.size(3) : 0,
                             .y = y.mutable_data_ptr(),
                             .halves = halves,
                             .back = back};
  const auto turn = cpu::loops<cpu::RotaryLoops>().turn;
  at::parallel_for(0, x.size(0) * call.seq, cpu::rows_worth_a_thread(call.heads * call.head_dim),
                   [&](int64_t begin, int64_t end) { turn(call, begin, end); });
  return y;
}

at::Tensor rotary(const at::Tensor& x, const at::Tensor& turns, RotaryPairs pairs) {
  return Rotary::apply(x, turns, pairs == RotaryPairs::kHalves);
}

}  // namespace titan::kernels
