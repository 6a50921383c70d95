// Logits that are spread over the vocabulary: no rank ever has a whole row of them (Megatron-LM, Shoeybi et al. 2019,
// arXiv 1909.08053, section 3). What each rank knows of a row is joined by two all-reduces of a number or two per
// token; the loss is made of it as of whole rows (cross_entropy.h).
#pragma once

#include <ATen/core/Tensor.h>

#include "titan/kernels/cross_entropy.h"

namespace titan::distributed {
class ProcessGroup;
}

namespace titan::loss {

// A rank's columns of logits.
struct VocabularyShard {
  at::Tensor logits;                           // [tokens, columns]; gradients flow back through it
  kernels::LogitColumns columns;               // which ones
  distributed::ProcessGroup* group = nullptr;  // the ranks that have the others
};

// logits: [tokens, vocabulary], a DTensor of one axis, Shard(1) (uneven too) or replicated.
VocabularyShard vocabulary_shard(const at::Tensor& logits);

// Of whole rows, from what this rank has found in its columns. Collective over `group`.
kernels::LogitRows join_rows(const kernels::LogitRows& own, distributed::ProcessGroup& group);

}  // namespace titan::loss
