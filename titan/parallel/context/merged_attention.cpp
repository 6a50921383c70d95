#include "titan/parallel/context/merged_attention.h"

#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/logaddexp.h>

namespace titan::parallel {
namespace {

// exp(part - whole) for each row, as [batch, rows, heads, 1]. A row that sees no key has -infinity twice, which gives
// NaN: its weight is 0.
at::Tensor weights(const at::Tensor& part, const at::Tensor& whole) {
  return (part - whole).exp_().nan_to_num_(0.0).transpose(1, 2).unsqueeze(-1);
}

}  // namespace

void MergedAttention::add(Rows rows, const at::Tensor& out, const at::Tensor& logsumexp) {
  const at::ScalarType dtype = at::toOpMathType(out.scalar_type());
  if (!out_.defined()) {
    out_ = out.to(dtype);
    logsumexp_ = logsumexp;
    return;
  }
  const at::Tensor of_rows = logsumexp_.narrow(2, rows.begin, rows.size);
  const at::Tensor merged = at::logaddexp(of_rows, logsumexp);
  out_.narrow(1, rows.begin, rows.size)
      .mul_(weights(of_rows, merged))
      .addcmul_(out.to(dtype), weights(logsumexp, merged));
  of_rows.copy_(merged);
}

}  // namespace titan::parallel
