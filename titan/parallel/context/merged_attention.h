// Attention over many keys put together from attention over blocks of them: with out_b and lse_b of each block (the
// log-sum-exp of its scores), the whole is
//   lse = log sum_b exp(lse_b),   out = sum_b exp(lse_b - lse) out_b
// (FlashAttention-2, Dao 2023, arXiv 2307.08691, section 2.3.1), added up here block by block in fp32. It knows no
// rank.
#pragma once

#include <ATen/core/Tensor.h>

#include "titan/parallel/context/sequence_layout.h"

namespace titan::parallel {

class MergedAttention {
 public:
  // out: [batch, rows, heads, width]; logsumexp: [batch, heads, rows], of some keys that were not there before; the
  // first call is of all rows, and its tensors, where they are in fp32 already, are worked on in place.
  void add(Rows rows, const at::Tensor& out, const at::Tensor& logsumexp);

  at::Tensor out(at::ScalarType dtype) const { return out_.to(dtype); }
  const at::Tensor& logsumexp() const { return logsumexp_; }

 private:
  at::Tensor out_, logsumexp_;
};

}  // namespace titan::parallel
