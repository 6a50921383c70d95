// The order in which an interleaved schedule visits a rank's stages (Narayanan et al. 2021, arXiv 2104.04473, section
// 2.2, figure 4 bottom): microbatches go in rounds; a round passes through the rank's first stage, then its second, and
// so on, before the next round begins. Backwards visit the stages from the last. The paper's rounds have num_ranks
// microbatches each; as in PyTorch they may be larger, so that 10 microbatches go over 4 ranks in 2 rounds of 5.
#pragma once

#include <algorithm>
#include <cstdint>

#include "titan/parallel/pipeline/schedule/schedule.h"

namespace titan::pipeline {

class InterleavedOrder {
 public:
  InterleavedOrder(const PipelineShape& shape, int64_t rank)
      : rank_(rank),
        num_ranks_(shape.num_ranks),
        stages_per_rank_(shape.stages_per_rank()),
        round_size_(shape.num_microbatches / num_rounds(shape)) {}

  // The shape is legal if this divides its number of microbatches.
  static int64_t num_rounds(const PipelineShape& shape) {
    return std::max<int64_t>(1, shape.num_microbatches / shape.num_ranks);
  }

  int64_t round_size() const { return round_size_; }

  // The rank's k-th forward, or backward: which stage, which microbatch.
  int64_t forward_stage(int64_t k) const { return rank_ + num_ranks_ * local_stage(k); }
  int64_t backward_stage(int64_t k) const { return rank_ + num_ranks_ * (stages_per_rank_ - 1 - local_stage(k)); }
  int64_t microbatch(int64_t k) const { return k / (round_size_ * stages_per_rank_) * round_size_ + k % round_size_; }

 private:
  int64_t local_stage(int64_t k) const { return k / round_size_ % stages_per_rank_; }

  int64_t rank_;
  int64_t num_ranks_;
  int64_t stages_per_rank_;
  int64_t round_size_;
};

}  // namespace titan::pipeline
