#include "titan/loss/cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/log.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "titan/dtensor/dtensor.h"
#include "titan/kernels/cross_entropy.h"
#include "titan/loss/vocabulary_parallel.h"

namespace titan::loss {
namespace {

// Sum of the chunks' losses; fills `hidden_grad` (if defined) with the gradient of the hidden states.
at::Tensor sum_over_chunks(const at::Tensor& hidden, const at::Tensor& labels, nn::Linear& output, double scale,
                           int64_t num_chunks, const at::Tensor& hidden_grad) {
  const bool record = hidden_grad.defined();
  at::AutoGradMode grad_mode(record);
  nn::CallSeries use(output);
  const int64_t num_tokens = hidden.size(0);
  const int64_t chunk_size = std::max<int64_t>(1, (num_tokens + num_chunks - 1) / num_chunks);
  at::Tensor total = at::zeros({}, hidden.options().dtype(at::kFloat));
  for (int64_t begin = 0; begin < num_tokens; begin += chunk_size) {
    const int64_t size = std::min(chunk_size, num_tokens - begin);
    at::Tensor chunk = hidden.narrow(0, begin, size).detach().set_requires_grad(record);
    total += cross_entropy_(output(chunk), labels.narrow(0, begin, size), scale);
    if (record) hidden_grad.narrow(0, begin, size).copy_(chunk.grad());
  }
  return total;
}

struct ChunkedCrossEntropy : torch::autograd::Function<ChunkedCrossEntropy> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& hidden,
                            const at::Tensor& labels, nn::Linear* output, double scale, int64_t num_chunks) {
    const at::Tensor hidden_grad = at::empty_like(hidden);
    at::Tensor total = sum_over_chunks(hidden, labels, *output, scale, num_chunks, hidden_grad);
    context->saved_data["hidden_grad"] = hidden_grad;
    return total;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list&) {
    // The parameters' gradients are there already, so the incoming gradient can be nothing but 1.
    at::Tensor hidden_grad = context->saved_data["hidden_grad"].toTensor();
    context->saved_data.erase("hidden_grad");
    return {std::move(hidden_grad), {}, {}, {}, {}};
  }
};

}  // namespace

int64_t count_valid_tokens(const at::Tensor& labels) { return (labels != kIgnoreIndex).sum().item<int64_t>(); }

at::Tensor cross_entropy_(const at::Tensor& logits, const at::Tensor& labels, double scale) {
  VocabularyShard own = dtensor::is_dtensor(logits)
                            ? vocabulary_shard(logits)
                            : VocabularyShard{.logits = logits, .columns = {.vocabulary = logits.size(1)}};
  own.columns.ignore_index = kIgnoreIndex;
  kernels::LogitRows rows = kernels::logit_rows(own.logits, labels, own.columns);
  if (own.group != nullptr) rows = join_rows(rows, *own.group);
  const at::Tensor losses = at::log(rows.sum) + (rows.largest - rows.label_logit);
  if (at::GradMode::is_enabled() && own.logits.requires_grad()) {
    kernels::logit_gradient_(own.logits, labels, rows.largest, rows.sum, own.columns, scale);
    own.logits.backward(own.logits.detach());
  }
  return at::where(labels == kIgnoreIndex, 0.0, losses).sum() * scale;
}

at::Tensor chunked_cross_entropy(const at::Tensor& hidden, const at::Tensor& labels, nn::Linear& output, double scale,
                                 int64_t num_chunks) {
  TORCH_CHECK_VALUE(num_chunks >= 1, "training.loss_chunks: must be at least 1, got ", num_chunks);
  const at::Tensor tokens = hidden.flatten(0, -2);  // [batch * seq, dim]
  const at::Tensor flat_labels = labels.flatten();
  if (!at::GradMode::is_enabled()) return sum_over_chunks(tokens, flat_labels, output, scale, num_chunks, {});
  return ChunkedCrossEntropy::apply(tokens, flat_labels, &output, scale, num_chunks);
}

}  // namespace titan::loss
