// The collectives: functions of tensors that every rank of a group calls, in the same order and with equal shapes
// and dtypes. Each returns at once with a Pending; `all_gather(x, group).wait()` is the blocking form. Without
// gradients: collectives_with_grad.h has those. Any dtype, any strides, empty tensors; on a group of one nothing
// happens, and the result of a functional form is its input itself.
// Wrong arguments throw c10::ValueError. A failure of the communication throws c10::Error from wait(), one line with
// the operation, the group, and who did not answer.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "titan/distributed/process_group.h"

namespace titan::distributed {

enum class ReduceOp { kSum, kAvg, kMax, kMin };

class InFlight;

// What a collective will give. Its tensors stay alive until it is over, also if the Pending goes before.
class [[nodiscard]] PendingTensors {
 public:
  explicit PendingTensors(std::vector<at::Tensor> results);  // there already
  explicit PendingTensors(std::unique_ptr<InFlight> operation);
  ~PendingTensors();
  PendingTensors(PendingTensors&&) noexcept;
  PendingTensors& operator=(PendingTensors&&) noexcept;

  // The results. CPU tensors: blocks until they are there; CUDA: the current stream waits, not the host. A second
  // call gives them again.
  const std::vector<at::Tensor>& wait();
  // Whether wait() would return without blocking the host. Does not throw.
  bool completed() const;

 private:
  std::vector<at::Tensor> results_;
  std::unique_ptr<InFlight> operation_;  // null: over
};

// The same for one tensor.
class [[nodiscard]] Pending {
 public:
  explicit Pending(PendingTensors tensors) : tensors_(std::move(tensors)) {}
  const at::Tensor& wait() { return tensors_.wait().front(); }
  bool completed() const { return tensors_.completed(); }

 private:
  PendingTensors tensors_;
};

// --- functional: a new tensor ---

// x: this rank's part, the same shape everywhere. Returns the parts one after another along `dim`.
Pending all_gather(const at::Tensor& x, ProcessGroup& group, int64_t dim = 0);
// Rank i's part has sizes[i] along `dim`, which may be 0; every rank passes the same sizes.
Pending all_gather_uneven(const at::Tensor& x, at::IntArrayRef sizes, ProcessGroup& group, int64_t dim = 0);

// x: the whole, the same shape everywhere; its size along `dim` is a multiple of the group's. Returns this rank's
// part of the reduction over ranks.
Pending reduce_scatter(const at::Tensor& x, ReduceOp op, ProcessGroup& group, int64_t dim = 0);
Pending reduce_scatter_uneven(const at::Tensor& x, at::IntArrayRef sizes, ReduceOp op, ProcessGroup& group,
                              int64_t dim = 0);

// The reduction over ranks, elementwise, bit-equal on all of them. kAvg is of floating point only; of bool, kMax is
// any and kMin is all.
Pending all_reduce(const at::Tensor& x, ReduceOp op, ProcessGroup& group);

// Sends the i-th part of x along dimension 0 to rank i; returns what came, in the order of ranks. Without splits all
// parts are equal; with them, input_splits[i] rows go to rank i and output_splits[i] come from it.
Pending all_to_all(const at::Tensor& x, ProcessGroup& group);
Pending all_to_all(const at::Tensor& x, at::IntArrayRef output_splits, at::IntArrayRef input_splits,
                   ProcessGroup& group);

// --- in place or into a given tensor, which may have any strides. The result is that tensor. ---

Pending all_reduce_(at::Tensor x, ReduceOp op, ProcessGroup& group);
// output: the parts one after another along dimension 0. A part of `output` may be `x` itself.
Pending all_gather_into(at::Tensor output, const at::Tensor& x, ProcessGroup& group);
// `output` may be this rank's part of `x`.
Pending reduce_scatter_into(at::Tensor output, const at::Tensor& x, ReduceOp op, ProcessGroup& group);
// What `source` (an index in the group) has.
Pending broadcast_(at::Tensor x, int64_t source, ProcessGroup& group);
// parts: on `source`, one tensor like `output` per rank; ignored elsewhere.
Pending scatter_into(at::Tensor output, const std::vector<at::Tensor>& parts, int64_t source, ProcessGroup& group);

// --- coalesced: many tensors in as few messages as there are dtypes; results in the order given ---

PendingTensors all_reduce_coalesced_(std::vector<at::Tensor> tensors, ReduceOp op, ProcessGroup& group);
PendingTensors broadcast_coalesced_(std::vector<at::Tensor> tensors, int64_t source, ProcessGroup& group);
// Along dimension 0.
PendingTensors all_gather_coalesced(const std::vector<at::Tensor>& tensors, ProcessGroup& group);
PendingTensors reduce_scatter_coalesced(const std::vector<at::Tensor>& tensors, ReduceOp op, ProcessGroup& group);

// Returns when every rank of the group has called it. CPU only.
void barrier(ProcessGroup& group);

}  // namespace titan::distributed
