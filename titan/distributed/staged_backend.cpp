#include "titan/distributed/staged_backend.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "titan/distributed/ordered_worker.h"

namespace titan::distributed {
namespace {

using Tensors = std::vector<at::Tensor>;
using c10d::OpType;
using WorkPtr = c10::intrusive_ptr<c10d::Work>;
using Moment = std::optional<c10::Event>;  // of a stream; none on a CPU, where everything has happened already

// What the current stream has been given so far.
Moment now(at::Device device) {
  if (device.is_cpu()) return std::nullopt;
  c10::Event event(device.type());
  event.record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  return event;
}

// A stream for copies in one direction.
class CopyStream {
 public:
  explicit CopyStream(at::Device device) : device_(device) {
    if (!device.is_cpu()) stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  }

  // Copies after `moment`. The memory of both tensors is used again only after that.
  void copy_after(const Moment& moment, const at::Tensor& to, const at::Tensor& from) const {
    const at::NoGradGuard no_grad;
    if (!stream_) {
      to.copy_(from);
      return;
    }
    const c10::StreamGuard guard(*stream_);
    moment->block(*stream_);
    to.copy_(from, /*non_blocking=*/true);  // which tells pinned memory's allocator
    (to.is_cpu() ? from : to).record_stream(*stream_);
  }

  Moment now() const {
    if (!stream_) return std::nullopt;
    const c10::StreamGuard guard(*stream_);
    return distributed::now(device_);
  }

 private:
  at::Device device_;
  std::optional<c10::Stream> stream_;
};

// One operation between its call and the copy up.
class StagedWork : public c10d::Work {
 public:
  StagedWork(OpType type, at::Device device) : Work(-1, type), device_(device) {}

  bool isCompleted() override {
    const std::lock_guard lock(mutex_);
    return over_ && (error_ || !up_ || up_->query());
  }
  bool isSuccess() const override {
    const std::lock_guard lock(mutex_);
    return over_ && !error_;
  }
  std::exception_ptr exception() const override {
    const std::lock_guard lock(mutex_);
    return error_;
  }
  // The host's operation has a timeout of its own, so this one ends.
  bool wait(std::chrono::milliseconds /*timeout*/) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return over_; });
    if (error_) std::rethrow_exception(error_);
    if (up_) up_->block(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
    return true;
  }

  void end(std::exception_ptr error, Moment up) {
    const std::lock_guard lock(mutex_);
    error_ = std::move(error);
    up_ = std::move(up);
    over_ = true;
    changed_.notify_all();
  }

 private:
  at::Device device_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::exception_ptr error_;
  Moment up_;
};

class StagedBackend : public c10d::Backend {
 public:
  StagedBackend(c10::intrusive_ptr<c10d::Backend> host, at::Device device)
      : Backend(host->getRank(), host->getSize()),
        host_(std::move(host)),
        device_(device),
        copies_down_(device),
        copies_up_(device) {}

  const std::string getBackendName() const override { return "staged over " + host_->getBackendName(); }
  void setTimeout(std::chrono::milliseconds timeout) override { host_->setTimeout(timeout); }

  WorkPtr allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override {
    Journey journey(*this);
    return journey.run(OpType::ALLREDUCE, [options, x = journey.there_and_back(tensors)](c10d::Backend& host) mutable {
      return host.allreduce(x, options);
    });
  }
  WorkPtr _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                               const c10d::ReduceScatterOptions& options) override {
    Journey journey(*this);
    return journey.run(OpType::_REDUCE_SCATTER_BASE,
                       [options, to = journey.up(output), from = journey.down(input)](c10d::Backend& host) mutable {
                         return host._reduce_scatter_base(to, from, options);
                       });
  }
  WorkPtr _allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions& options) override {
    Journey journey(*this);
    return journey.run(OpType::_ALLGATHER_BASE,
                       [options, to = journey.up(output), from = journey.down(input)](c10d::Backend& host) mutable {
                         return host._allgather_base(to, from, options);
                       });
  }
  WorkPtr broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override {
    Journey journey(*this);
    return journey.run(OpType::BROADCAST, [options, x = journey.there_and_back(tensors)](c10d::Backend& host) mutable {
      return host.broadcast(x, options);
    });
  }
  WorkPtr scatter(Tensors& outputs, std::vector<Tensors>& inputs, const c10d::ScatterOptions& options) override {
    Journey journey(*this);
    std::vector<Tensors> from;
    for (const Tensors& parts : inputs) from.push_back(journey.down(parts));
    return journey.run(OpType::SCATTER, [options, to = journey.up(outputs), from](c10d::Backend& host) mutable {
      return host.scatter(to, from, options);
    });
  }
  WorkPtr alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<int64_t>& output_splits,
                        std::vector<int64_t>& input_splits, const c10d::AllToAllOptions& options) override {
    Journey journey(*this);
    return journey.run(OpType::ALLTOALL_BASE, [options, to = journey.up(output), from = journey.down(input),
                                               output_splits, input_splits](c10d::Backend& host) mutable {
      return host.alltoall_base(to, from, output_splits, input_splits, options);
    });
  }
  WorkPtr send(Tensors& tensors, int peer, int tag) override {
    Journey journey(*this);
    return journey.run(OpType::SEND, [peer, tag, x = journey.down(tensors)](c10d::Backend& host) mutable {
      return host.send(x, peer, tag);
    });
  }
  WorkPtr recv(Tensors& tensors, int peer, int tag) override {
    Journey journey(*this);
    return journey.run(OpType::RECV, [peer, tag, x = journey.up(tensors)](c10d::Backend& host) mutable {
      return host.recv(x, peer, tag);
    });
  }

 private:
  // What one operation carries down and up. All copies wait for what the current stream was given before the call: it
  // writes what is sent, and may still read from memory that a result will be written to.
  class Journey {
   public:
    explicit Journey(StagedBackend& backend)
        : backend_(backend), called_(std::make_shared<Moment>(now(backend.device_))) {}

    // The twins in host memory.
    at::Tensor down(const at::Tensor& x) {
      at::Tensor host = twin(x);
      backend_.copies_down_.copy_after(*called_, host, x);
      return host;
    }
    at::Tensor up(const at::Tensor& x) {
      arrivals_.push_back({x, twin(x)});
      return arrivals_.back().host;
    }
    Tensors down(const Tensors& tensors) {
      Tensors hosts;
      for (const at::Tensor& x : tensors) hosts.push_back(down(x));
      return hosts;
    }
    Tensors up(const Tensors& tensors) {
      Tensors hosts;
      for (const at::Tensor& x : tensors) hosts.push_back(up(x));
      return hosts;
    }
    Tensors there_and_back(const Tensors& tensors) {
      Tensors hosts = down(tensors);
      for (size_t i = 0; i < tensors.size(); ++i) arrivals_.push_back({tensors[i], hosts[i]});
      return hosts;
    }

    template <class Start>
    WorkPtr run(OpType type, Start start) {
      auto work = c10::make_intrusive<StagedWork>(type, backend_.device_);
      auto is_down = std::make_shared<Moment>(backend_.copies_down_.now());
      StagedBackend& backend = backend_;
      backend.starting_.run([&backend, work, is_down, start = std::move(start), called = called_,
                             arrivals = std::move(arrivals_)]() mutable {
        WorkPtr on_host;
        std::exception_ptr error;
        try {
          if (*is_down) (*is_down)->synchronize();
          on_host = start(*backend.host_);
        } catch (...) {
          error = std::current_exception();
        }
        backend.finishing_.run([&backend, work, on_host, error, called, start = std::move(start),
                                arrivals = std::move(arrivals)]() mutable {
          try {
            if (error) std::rethrow_exception(error);
            if (on_host) on_host->wait();
            for (const Arrival& arrival : arrivals) {
              backend.copies_up_.copy_after(*called, arrival.device, arrival.host);
            }
            work->end(nullptr, backend.copies_up_.now());
          } catch (...) {
            work->end(std::current_exception(), std::nullopt);
          }
        });
      });
      return work;
    }

   private:
    struct Arrival {
      at::Tensor device, host;
    };

    static at::Tensor twin(const at::Tensor& x) {
      return at::empty(x.sizes(), x.options().device(at::kCPU).pinned_memory(!x.is_cpu()));
    }

    StagedBackend& backend_;
    std::shared_ptr<Moment> called_;
    std::vector<Arrival> arrivals_;
  };

  c10::intrusive_ptr<c10d::Backend> host_;
  at::Device device_;
  CopyStream copies_down_, copies_up_;
  // The former gives the latter work, so it ends first.
  OrderedWorker finishing_, starting_;
};

}  // namespace

BackendFactory staged_over(BackendFactory make_host, at::Device device) {
  return [make_host = std::move(make_host), device](const BackendRequest& request) {
    return c10::make_intrusive<StagedBackend>(make_host(request), device);
  };
}

}  // namespace titan::distributed
