#include "tests/support/delayed_backend.h"

#include <thread>
#include <torch/csrc/distributed/c10d/Backend.hpp>

namespace titan::test {
namespace {

using c10d::Work;
using Tensors = std::vector<at::Tensor>;
using Clock = std::chrono::steady_clock;

class DelayedWork : public Work {
 public:
  DelayedWork(c10::intrusive_ptr<Work> work, Clock::time_point end) : work_(std::move(work)), end_(end) {}
  bool isCompleted() override { return Clock::now() >= end_ && work_->isCompleted(); }
  bool wait(std::chrono::milliseconds timeout) override {
    const bool over = work_->wait(timeout);
    std::this_thread::sleep_until(end_);
    return over;
  }
  Tensors result() override { return work_->result(); }

 private:
  c10::intrusive_ptr<Work> work_;
  Clock::time_point end_;
};

class DelayedBackend : public c10d::Backend {
 public:
  DelayedBackend(c10::intrusive_ptr<Backend> backend, std::chrono::milliseconds delay)
      : Backend(backend->getRank(), backend->getSize()), backend_(std::move(backend)), delay_(delay) {}

  const std::string getBackendName() const override { return "delayed"; }
  void setTimeout(std::chrono::milliseconds timeout) override { backend_->setTimeout(timeout); }

  c10::intrusive_ptr<Work> broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override {
    return late(backend_->broadcast(tensors, options));
  }
  c10::intrusive_ptr<Work> allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override {
    return late(backend_->allreduce(tensors, options));
  }
  c10::intrusive_ptr<Work> _allgather_base(at::Tensor& output, at::Tensor& input,
                                           const c10d::AllgatherOptions& options) override {
    return late(backend_->_allgather_base(output, input, options));
  }
  c10::intrusive_ptr<Work> _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                                                const c10d::ReduceScatterOptions& options) override {
    return late(backend_->_reduce_scatter_base(output, input, options));
  }
  c10::intrusive_ptr<Work> scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                                   const c10d::ScatterOptions& options) override {
    return late(backend_->scatter(outputs, inputs, options));
  }
  c10::intrusive_ptr<Work> alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<int64_t>& output_splits,
                                         std::vector<int64_t>& input_splits,
                                         const c10d::AllToAllOptions& options) override {
    return late(backend_->alltoall_base(output, input, output_splits, input_splits, options));
  }
  c10::intrusive_ptr<Work> send(Tensors& tensors, int peer, int tag) override {
    return late(backend_->send(tensors, peer, tag));
  }
  c10::intrusive_ptr<Work> recv(Tensors& tensors, int peer, int tag) override {
    return late(backend_->recv(tensors, peer, tag));
  }

 private:
  c10::intrusive_ptr<Work> late(c10::intrusive_ptr<Work> work) const {
    return c10::make_intrusive<DelayedWork>(std::move(work), Clock::now() + delay_);
  }

  c10::intrusive_ptr<Backend> backend_;
  std::chrono::milliseconds delay_;
};

}  // namespace

distributed::BackendFactory delayed(distributed::BackendFactory make, std::chrono::milliseconds delay) {
  return [make = std::move(make), delay](const distributed::BackendRequest& request) {
    return c10::make_intrusive<DelayedBackend>(make(request), delay);
  };
}

}  // namespace titan::test
