#include "titan/kernels/cross_entropy.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <limits>

#include "titan/kernels/cpu/cross_entropy.h"
#include "titan/kernels/cpu/loops.h"
#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

void check(const at::Tensor& logits, const at::Tensor& labels) {
  TORCH_CHECK_VALUE(
      logits.dim() == 2 && labels.dim() == 1 && labels.size(0) == logits.size(0) && labels.scalar_type() == at::kLong,
      "cross_entropy: expected logits [rows, columns] and int64 labels [rows], got ", logits.sizes(), " and ",
      labels.sizes(), " ", labels.scalar_type());
}

// Where a row's label is among the columns, and which one it then is (0 elsewhere).
struct LabelColumns {
  at::Tensor is_here, column;
};

LabelColumns label_columns(const at::Tensor& labels, int64_t num_columns, int64_t first, int64_t ignore_index) {
  const at::Tensor column = labels - first;
  const at::Tensor is_here = (labels != ignore_index) & (column >= 0) & (column < num_columns);
  return {is_here, at::where(is_here, column, at::zeros_like(column))};
}

cpu::LogitCall call_on(const at::Tensor& logits, const at::Tensor& labels, int64_t first, int64_t ignore_index) {
  return {.dtype = logits.scalar_type(),
          .num_columns = logits.size(1),
          .row_stride = logits.stride(0),
          .labels = labels.const_data_ptr<int64_t>(),
          .first = first,
          .ignore_index = ignore_index};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> logit_rows_composite(const at::Tensor& logits, const at::Tensor& labels,
                                                                    int64_t first, int64_t vocabulary,
                                                                    int64_t ignore_index) {
  check(logits, labels);
  if (logits.is_meta()) {
    const at::Tensor of_rows = at::empty({logits.size(0)}, logits.options().dtype(at::kFloat));
    return {of_rows, of_rows.clone(), of_rows.clone()};
  }
  const at::Tensor wide = logits.to(at::kFloat);
  if (wide.size(1) == 0) {
    const at::Tensor none = at::zeros({wide.size(0)}, wide.options());
    return {at::full({wide.size(0)}, -std::numeric_limits<double>::infinity(), wide.options()), none, none.clone()};
  }
  const at::Tensor largest = at::amax(wide, 1);
  const at::Tensor sum = at::exp(wide - largest.unsqueeze(1)).sum(1);
  const auto [is_here, column] = label_columns(labels, wide.size(1), first, ignore_index);
  const at::Tensor is_wrong = (labels != ignore_index) & ((labels < 0) | (labels >= vocabulary));
  const at::Tensor label_logit = at::where(is_here, wide.gather(1, column.unsqueeze(1)).squeeze(1), 0.0);
  return {largest, sum, label_logit.masked_fill(is_wrong, std::numeric_limits<double>::quiet_NaN())};
}

at::Tensor& logit_gradient_composite(at::Tensor& logits, const at::Tensor& labels, const at::Tensor& largest,
                                     const at::Tensor& sum, int64_t first, int64_t ignore_index, double scale) {
  check(logits, labels);
  if (logits.is_meta() || logits.size(1) == 0) return logits;
  at::Tensor gradient = at::exp(logits.to(at::kFloat) - largest.unsqueeze(1)).div_(sum.unsqueeze(1));
  const auto [is_here, column] = label_columns(labels, logits.size(1), first, ignore_index);
  gradient.scatter_add_(1, column.unsqueeze(1), -is_here.to(at::kFloat).unsqueeze(1));
  gradient.masked_fill_((labels == ignore_index).unsqueeze(1), 0).mul_(scale);
  return logits.copy_(gradient);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> logit_rows_cpu(const at::Tensor& logits, const at::Tensor& labels,
                                                              int64_t first, int64_t vocabulary, int64_t ignore_index) {
  check(logits, labels);
  const at::Tensor of_rows = labels.contiguous();
  const auto* const data = of_rows.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < of_rows.numel(); ++row) {
    TORCH_CHECK_VALUE((data[row] >= 0 && data[row] < vocabulary) || data[row] == ignore_index, "label ", data[row],
                      ": expected one of the vocabulary of ", vocabulary, " tokens, or ", ignore_index,
                      " for none; does the tokenizer belong to the model?");
  }
  if (!cpu::has_floats(logits.scalar_type()) || logits.stride(1) != 1)
    return logit_rows_composite(logits, labels, first, vocabulary, ignore_index);
  const auto options = logits.options().dtype(at::kFloat);
  const at::Tensor largest = at::empty({logits.size(0)}, options), sum = at::empty({logits.size(0)}, options);
  const at::Tensor label_logit = at::empty({logits.size(0)}, options);
  const cpu::LogitCall call = call_on(logits, of_rows, first, ignore_index);
  const auto rows = cpu::loops<cpu::CrossEntropyLoops>().rows;
  at::parallel_for(0, logits.size(0), cpu::rows_worth_a_thread(call.num_columns), [&](int64_t begin, int64_t end) {
    rows(call, logits.const_data_ptr(), largest.mutable_data_ptr<float>(), sum.mutable_data_ptr<float>(),
         label_logit.mutable_data_ptr<float>(), begin, end);
  });
  return {largest, sum, label_logit};
}

at::Tensor& logit_gradient_cpu(at::Tensor& logits, const at::Tensor& labels, const at::Tensor& largest,
                               const at::Tensor& sum, int64_t first, int64_t ignore_index, double scale) {
  check(logits, labels);
  if (!cpu::has_floats(logits.scalar_type()) || logits.stride(1) != 1)
    return logit_gradient_composite(logits, labels, largest, sum, first, ignore_index, scale);
  const at::Tensor of_rows = labels.contiguous(), shifts = largest.contiguous(), sums = sum.contiguous();
  const cpu::LogitCall call = call_on(logits, of_rows, first, ignore_index);
  const auto gradient = cpu::loops<cpu::CrossEntropyLoops>().gradient;
  at::parallel_for(0, logits.size(0), cpu::rows_worth_a_thread(call.num_columns), [&](int64_t begin, int64_t end) {
    gradient(call, logits.mutable_data_ptr(), shifts.const_data_ptr<float>(), sums.const_data_ptr<float>(),
             static_cast<float>(scale), begin, end);
  });
  return logits;
}

LogitRows logit_rows(const at::Tensor& logits, const at::Tensor& labels, const LogitColumns& columns) {
  static const auto op = find_operator("logit_rows")
                             .typed<std::tuple<at::Tensor, at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&,
                                                                                   int64_t, int64_t, int64_t)>();
  const at::NoGradGuard no_grad;
  auto [largest, sum, label_logit] =
      op.call(logits.detach(), labels, columns.first, columns.vocabulary, columns.ignore_index);
  return {largest, sum, label_logit};
}

void logit_gradient_(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& largest,
                     const at::Tensor& sum, const LogitColumns& columns, double scale) {
  static const auto op = find_operator("logit_gradient_")
                             .typed<at::Tensor&(at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                int64_t, int64_t, double)>();
  const at::NoGradGuard no_grad;
  at::Tensor memory = logits.detach();
  op.call(memory, labels, largest, sum, columns.first, columns.ignore_index, scale);
}

}  // namespace titan::kernels
