#include "titan/loss/cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "titan/dtensor/dtensor.h"
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
    const at::Tensor logits = output(chunk), targets = labels.narrow(0, begin, size);
    const at::Tensor sum = dtensor::is_dtensor(logits) ? vocabulary_parallel_cross_entropy(logits, targets)
                                                       : at::cross_entropy_loss(logits.to(at::kFloat), targets, {},
                                                                                at::Reduction::Sum, kIgnoreIndex);
    at::Tensor loss = sum * scale;
    if (record) {
      loss.backward();
      hidden_grad.narrow(0, begin, size).copy_(chunk.grad());
    }
    total += loss.detach();
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

at::Tensor chunked_cross_entropy(const at::Tensor& hidden, const at::Tensor& labels, nn::Linear& output, double scale,
                                 int64_t num_chunks) {
  TORCH_CHECK_VALUE(num_chunks >= 1, "training.loss_chunks: must be at least 1, got ", num_chunks);
  const at::Tensor tokens = hidden.flatten(0, -2);  // [batch * seq, dim]
  const at::Tensor flat_labels = labels.flatten();
  if (!at::GradMode::is_enabled()) return sum_over_chunks(tokens, flat_labels, output, scale, num_chunks, {});
  return ChunkedCrossEntropy::apply(tokens, flat_labels, &output, scale, num_chunks);
}

}  // namespace titan::loss
