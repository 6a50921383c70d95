// Activation checkpointing that chooses for itself what it keeps: it measures the operators of the blocks during the
// first step, which computes everything again, and from then on keeps the results that save most time within a bound on
// memory. The bound is a share of what the plain forward keeps (mode memory_budget), or what the device has left (mode
// auto).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "titan/activation_checkpoint/keep_choice.h"

namespace titan::activation_checkpoint {

class OperatorPolicy;

// One block's forward, measured.
struct BlockProfile {
  std::vector<std::string> operators;  // those whose results can be kept, in order
  std::vector<Candidate> candidates;   // of each; the least time of all blocks
  int64_t plain_bytes = 0;             // that the plain forward keeps, without inputs and parameters
};

class MemoryBudget {
 public:
  // Bytes that each block may keep, given the profile, once the first step is over. Negative: as little as possible.
  using Bound = std::function<int64_t(const BlockProfile&)>;
  // Makes measured numbers the same on all ranks that run the blocks together. Collective.
  using Agree = std::function<void(std::vector<double>&)>;
  // Told what was chosen.
  using OnChoice = std::function<void(const BlockProfile&, const KeepChoice&)>;

  MemoryBudget(Bound bound, Agree agree, OnChoice on_choice);

  // For CheckpointOptions, of every block.
  std::unique_ptr<OperatorPolicy> make_policy();
  // False once everything may be kept.
  bool applies() const { return !keeps_everything_; }

  // Before each micro-batch; `last`: no other follows in this step.
  void before_microbatch(bool last);

 private:
  class Measuring;
  class Keeping;

  void choose();

  Bound bound_;
  Agree agree_;
  OnChoice on_choice_;
  std::shared_ptr<BlockProfile> profile_;  // shared with the graphs that still hold a policy
  std::shared_ptr<const KeepChoice> choice_;
  bool step_ends_ = false;
  bool keeps_everything_ = false;
};

}  // namespace titan::activation_checkpoint
