#include "titan/distributed/fake_backend.h"

#include <ATen/core/ivalue.h>

#include <algorithm>
#include <torch/csrc/distributed/c10d/Backend.hpp>

namespace titan::distributed {
namespace {

using c10d::Work;
using Tensors = std::vector<at::Tensor>;

// Over before it begins.
class FakeWork : public Work {
 public:
  FakeWork(c10d::OpType type, Tensors results) : Work(-1, type), results_(std::move(results)) { finish(); }
  bool wait(std::chrono::milliseconds /*timeout*/) override { return true; }
  Tensors result() override { return results_; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override {
    auto future = c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()));
    future->markCompleted(at::IValue(results_));
    return future;
  }

 private:
  Tensors results_;
};

class FakeBackend : public c10d::Backend {
 public:
  FakeBackend(int rank, int size) : Backend(rank, size) {}

  const std::string getBackendName() const override { return "fake"; }
  void setTimeout(std::chrono::milliseconds /*timeout*/) override {}

  c10::intrusive_ptr<Work> broadcast(Tensors& tensors, const c10d::BroadcastOptions& /*options*/) override {
    return over(c10d::OpType::BROADCAST, tensors);
  }
  c10::intrusive_ptr<Work> allreduce(Tensors& tensors, const c10d::AllreduceOptions& /*options*/) override {
    return over(c10d::OpType::ALLREDUCE, tensors);
  }
  c10::intrusive_ptr<Work> allreduce_coalesced(Tensors& tensors,
                                               const c10d::AllreduceCoalescedOptions& /*options*/) override {
    return over(c10d::OpType::ALLREDUCE_COALESCED, tensors);
  }
  c10::intrusive_ptr<Work> reduce(Tensors& tensors, const c10d::ReduceOptions& /*options*/) override {
    return over(c10d::OpType::REDUCE, tensors);
  }

  c10::intrusive_ptr<Work> allgather(std::vector<Tensors>& outputs, Tensors& inputs,
                                     const c10d::AllgatherOptions& /*options*/) override {
    for (size_t i = 0; i < inputs.size(); ++i) {
      for (at::Tensor& part : outputs[i]) part.copy_(inputs[i]);
    }
    return over(c10d::OpType::ALLGATHER, outputs.front());
  }
  c10::intrusive_ptr<Work> _allgather_base(at::Tensor& output, at::Tensor& input,
                                           const c10d::AllgatherOptions& /*options*/) override {
    gather(output, input);
    return over(c10d::OpType::_ALLGATHER_BASE, {output});
  }
  c10::intrusive_ptr<Work> allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                                           const c10d::AllgatherOptions& /*options*/) override {
    for (size_t i = 0; i < inputs.size(); ++i) gather(outputs[i], inputs[i]);
    return over(c10d::OpType::COALESCED, outputs);
  }

  c10::intrusive_ptr<Work> _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                                                const c10d::ReduceScatterOptions& /*options*/) override {
    scatter_own(output, input);
    return over(c10d::OpType::_REDUCE_SCATTER_BASE, {output});
  }
  c10::intrusive_ptr<Work> reduce_scatter_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                                           const c10d::ReduceScatterOptions& /*options*/) override {
    for (size_t i = 0; i < inputs.size(); ++i) scatter_own(outputs[i], inputs[i]);
    return over(c10d::OpType::COALESCED, outputs);
  }

  // On a rank that is not the source: as if its output already were what comes.
  c10::intrusive_ptr<Work> scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                                   const c10d::ScatterOptions& /*options*/) override {
    if (!inputs.empty()) outputs.front().copy_(inputs.front().at(static_cast<size_t>(getRank())));
    return over(c10d::OpType::SCATTER, outputs);
  }

  // What would come from rank i is what goes to it, cut or filled with zeros where the sizes differ.
  c10::intrusive_ptr<Work> alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<int64_t>& output_splits,
                                         std::vector<int64_t>& input_splits,
                                         const c10d::AllToAllOptions& /*options*/) override {
    if (output_splits.empty()) output_splits.assign(static_cast<size_t>(getSize()), output.size(0) / getSize());
    if (input_splits.empty()) input_splits.assign(static_cast<size_t>(getSize()), input.size(0) / getSize());
    output.zero_();
    int64_t to = 0, from = 0;
    for (size_t i = 0; i < output_splits.size(); ++i) {
      const int64_t rows = std::min(output_splits[i], input_splits[i]);
      output.narrow(0, to, rows).copy_(input.narrow(0, from, rows));
      to += output_splits[i];
      from += input_splits[i];
    }
    return over(c10d::OpType::ALLTOALL_BASE, {output});
  }

  c10::intrusive_ptr<Work> send(Tensors& tensors, int /*peer*/, int /*tag*/) override {
    return over(c10d::OpType::SEND, tensors);
  }
  c10::intrusive_ptr<Work> recv(Tensors& tensors, int /*peer*/, int /*tag*/) override {
    for (at::Tensor& tensor : tensors) tensor.zero_();
    return over(c10d::OpType::RECV, tensors);
  }
  c10::intrusive_ptr<Work> barrier(const c10d::BarrierOptions& /*options*/) override {
    return over(c10d::OpType::BARRIER, {});
  }

 private:
  static c10::intrusive_ptr<Work> over(c10d::OpType type, Tensors results) {
    return c10::make_intrusive<FakeWork>(type, std::move(results));
  }
  void gather(const at::Tensor& output, const at::Tensor& input) const {
    output.view({getSize(), input.numel()}).copy_(input.reshape({1, -1}).expand({getSize(), -1}));
  }
  void scatter_own(const at::Tensor& output, const at::Tensor& input) const {
    output.copy_(input.reshape({getSize(), -1}).select(0, getRank()).view_as(output));
  }
};

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_fake_backend(int64_t rank, int64_t size) {
  return c10::make_intrusive<FakeBackend>(static_cast<int>(rank), static_cast<int>(size));
}

}  // namespace titan::distributed
