// Results of a forward's operators, kept so that the same forward can run again without computing them. What is kept
// is for a policy to say: this is the machinery of selective activation checkpointing.
#pragma once

#include <ATen/core/ivalue.h>

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "titan/dtensor/interposition.h"

namespace titan::activation_checkpoint {

// Says of each operator of one forward, in order, whether its results are kept. The second time no one is asked.
class OperatorPolicy {
 public:
  virtual ~OperatorPolicy() = default;
  // arguments: the operator's, at the end of a stack that may hold more.
  virtual bool keeps(const c10::OperatorHandle& op, const torch::jit::Stack& arguments) = 0;
  virtual bool keeps(dtensor::Communication kind) = 0;
  // After one that `keeps` was asked about.
  virtual void on_results(const std::vector<c10::IValue>& results) {}

  // Whether the two below are called.
  virtual bool observes() const { return false; }
  // What the plain forward would have kept: a tensor that a node asked to save. `is_given`: an input or a parameter of
  // the module, whose memory is there anyway.
  virtual void on_saved(const at::Tensor& tensor, bool is_given) {}
  // The first run is over.
  virtual void on_end() {}
};

// What this rank has of it.
const at::Tensor& local_part(const at::Tensor& tensor);

// Those that are defined, lists unrolled.
std::vector<at::Tensor> tensors_in(const std::vector<c10::IValue>& values);

// Bytes of the memory under `tensors`; what several share, or is in `without`, counts once or not at all.
int64_t bytes_under(const std::vector<at::Tensor>& tensors, std::unordered_set<const c10::StorageImpl*> without = {});

class KeptResults {
 public:
  // Without `policy` nothing is kept, and operators are only noted. `describes`: with the shapes of their arguments.
  KeptResults(std::unique_ptr<OperatorPolicy> policy, bool describes);
  ~KeptResults();

  // The mode for the first run, which fills this, and one for each run after it, which needs it.
  dtensor::Mode& recording();
  std::unique_ptr<dtensor::Mode> replaying();

  // The operators of the first run, and of the last one after it, as far as it came; one a line.
  std::string operators_before() const;
  std::string operators_again() const;

  // Of results that are kept; memory that several share counts once.
  int64_t num_bytes() const;

 private:
  struct Call {
    std::string name;
    bool is_kept = false;
    std::vector<c10::IValue> results;
    std::vector<uint32_t> versions;  // of the tensors among them
  };
  class Recording;
  class Replaying;

  std::unique_ptr<OperatorPolicy> policy_;
  bool describes_;
  std::vector<Call> calls_;
  std::vector<std::string> again_;
  std::unique_ptr<Recording> recording_;
};

}  // namespace titan::activation_checkpoint
