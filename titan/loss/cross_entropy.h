// The language-modelling loss: cross-entropy of the next token, computed with the output layer chunk by chunk.
//
// [Note: loss scaling]
// The step's number of valid tokens is known before the forward: labels are data. Each micro-batch's loss is
//   sum(token losses) * 1 / num_valid_tokens(step, all ranks)
// and nothing else scales anything: data-parallel reductions are sums, micro-batches and pipeline stages add up. So
// gradients are those of the mean over the step's tokens at every layout, without a pass over them afterwards.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "titan/nn/linear.h"

namespace titan::loss {

// Labels with this value are not predicted and not counted.
constexpr int64_t kIgnoreIndex = -100;

// How many of `labels` are to be predicted.
int64_t count_valid_tokens(const at::Tensor& labels);

// scale * sum over tokens of -log softmax(logits)[label]: a scalar, fp32, computed in fp32. logits: [tokens,
// vocabulary], plain or spread over the vocabulary (vocabulary_parallel.h: collective, the result is the same on every
// rank); labels: [tokens] int64, plain. Throws c10::ValueError for labels outside the vocabulary.
//
// The loss is the end of the graph: where gradients are recorded, the gradient of the logits is computed at once, in
// their own memory, and their backward runs. The logits are used up, and the result is plain.
at::Tensor cross_entropy_(const at::Tensor& logits, const at::Tensor& labels, double scale);

// The same of output(hidden). hidden: [batch, seq, dim]; labels: [batch, seq] int64.
//
// The tokens are cut into `num_chunks` runs; only one run's logits exist at a time. Where gradients are recorded, each
// chunk runs its backward at once, which is possible because the loss is the end of the graph: the output layer's
// parameters have their gradients when this returns, and the result's backward passes on the hidden states' gradient
// (its incoming gradient must be 1: scale by `scale`). The output layer's use hooks run once around all chunks.
at::Tensor chunked_cross_entropy(const at::Tensor& hidden, const at::Tensor& labels, nn::Linear& output, double scale,
                                 int64_t num_chunks);

}  // namespace titan::loss
