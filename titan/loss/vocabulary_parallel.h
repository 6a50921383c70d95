// Cross-entropy of logits that are spread over the vocabulary: no rank ever has a whole row of them (Megatron-LM,
// Shoeybi et al. 2019, arXiv 1909.08053, section 3).
#pragma once

#include <ATen/core/Tensor.h>

namespace titan::loss {

// Sum over tokens of -log softmax(logits)[label], [] float32, the same on every rank; tokens with label kIgnoreIndex
// count nothing. logits: [tokens, vocabulary], a DTensor of one axis, Shard(1) (uneven too) or replicated. labels:
// [tokens] int64, plain, the same on every rank. Computes in fp32. Two all-reduces of a number or two per token.
at::Tensor vocabulary_parallel_cross_entropy(const at::Tensor& logits, const at::Tensor& labels);

}  // namespace titan::loss
