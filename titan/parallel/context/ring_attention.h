// Causal attention of a sequence that several ranks share (Ring Attention, Liu et al. 2023, arXiv 2310.01889): each has
// the queries, keys and values of its own tokens, keys and values go round, and what each block of them gives is merged
// by its log-sum-exp. Nothing of the sequence is ever whole on one rank but, while they go round, the keys and values
// of one layer (KvRotation says how many at once). Key heads that several query heads share travel once. It knows no
// module.
//
// For autograd, and for what watches operators (activation checkpointing), it is one operator and its backward:
// "titan::ring_attention", so recomputation may keep its result instead of sending everything again.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "titan/kernels/attention.h"
#include "titan/parallel/context/rotation.h"
#include "titan/parallel/context/sequence_layout.h"

namespace titan::parallel {

struct RingOptions {
  SequenceOrder order = SequenceOrder::kHeadTail;
  KvRotation rotation = KvRotation::kAllGather;
};

// The ranks that share sequences, and how. Must outlive the backward of what was computed with it.
class Ring {
 public:
  Ring(std::shared_ptr<distributed::ProcessGroup> group, const RingOptions& options);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  distributed::ProcessGroup& group() const { return *group_; }
  const SequenceLayout& layout() const { return layout_; }
  KvRotation rotation() const { return rotation_; }
  // What operators, whose arguments are tensors and numbers, know it by.
  int64_t id() const { return id_; }

  // The tokens of a sequence that are this rank's: SequenceLayout::tokens_of.
  at::Tensor own_tokens(int64_t seq_len) const { return layout_.tokens_of(group_->rank(), seq_len); }

 private:
  std::shared_ptr<distributed::ProcessGroup> group_;
  SequenceLayout layout_;
  KvRotation rotation_;
  int64_t id_;
};

// Of this rank's tokens, shapes and dtypes as in kernels::attention. mask: is_causal, and no query_offset; `window`
// counts tokens of the whole sequence; first_key: [batch, own tokens] int64, indices in the whole sequence; segments:
// those of own tokens. Collective
// over the ring, forward and backward.
at::Tensor ring_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                          const kernels::AttentionMask& mask, const Ring& ring,
                          std::optional<double> scale = std::nullopt);

}  // namespace titan::parallel
