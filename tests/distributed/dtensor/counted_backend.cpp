#include "tests/distributed/dtensor/counted_backend.h"

#include <torch/csrc/distributed/c10d/Backend.hpp>

namespace titan::test {
namespace {

using c10d::Work;
using Tensors = std::vector<at::Tensor>;

thread_local Counts* current = nullptr;  // ranks are threads

void note(int64_t Counts::*kind, const at::Tensor& input) {
  if (current == nullptr) return;
  ++(current->*kind);
  current->bytes += static_cast<int64_t>(input.nbytes());
}

class CountedBackend : public c10d::Backend {
 public:
  explicit CountedBackend(c10::intrusive_ptr<Backend> backend)
      : Backend(backend->getRank(), backend->getSize()), backend_(std::move(backend)) {}

  const std::string getBackendName() const override { return "counted"; }
  void setTimeout(std::chrono::milliseconds timeout) override { backend_->setTimeout(timeout); }

  c10::intrusive_ptr<Work> broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override {
    note(&Counts::broadcast, tensors.front());
    return backend_->broadcast(tensors, options);
  }
  c10::intrusive_ptr<Work> allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override {
    note(&Counts::all_reduce, tensors.front());
    return backend_->allreduce(tensors, options);
  }
  c10::intrusive_ptr<Work> _allgather_base(at::Tensor& output, at::Tensor& input,
                                           const c10d::AllgatherOptions& options) override {
    note(&Counts::all_gather, input);
    return backend_->_allgather_base(output, input, options);
  }
  c10::intrusive_ptr<Work> _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                                                const c10d::ReduceScatterOptions& options) override {
    note(&Counts::reduce_scatter, input);
    return backend_->_reduce_scatter_base(output, input, options);
  }
  c10::intrusive_ptr<Work> alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<int64_t>& output_splits,
                                         std::vector<int64_t>& input_splits,
                                         const c10d::AllToAllOptions& options) override {
    note(&Counts::all_to_all, input);
    return backend_->alltoall_base(output, input, output_splits, input_splits, options);
  }
  c10::intrusive_ptr<Work> send(Tensors& tensors, int peer, int tag) override {
    note(&Counts::sent_messages, tensors.front());
    return backend_->send(tensors, peer, tag);
  }
  c10::intrusive_ptr<Work> recv(Tensors& tensors, int peer, int tag) override {
    return backend_->recv(tensors, peer, tag);
  }

 private:
  c10::intrusive_ptr<Backend> backend_;
};

}  // namespace

std::ostream& operator<<(std::ostream& out, const Counts& counts) {
  return out << counts.all_gather << " all_gather, " << counts.reduce_scatter << " reduce_scatter, "
             << counts.all_reduce << " all_reduce, " << counts.all_to_all << " all_to_all, " << counts.broadcast
             << " broadcast, " << counts.sent_messages << " messages, " << counts.bytes << " bytes";
}

Counts counts_of(const std::function<void()>& body) {
  Counts counts;
  Counts* const outer = std::exchange(current, &counts);
  body();
  current = outer;
  return counts;
}

distributed::BackendFactory counted(distributed::BackendFactory make) {
  return [make = std::move(make)](const distributed::BackendRequest& request) {
    return c10::make_intrusive<CountedBackend>(make(request));
  };
}

}  // namespace titan::test
