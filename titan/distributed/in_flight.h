// One operation that a backend has under way: what it is called in an error, and what is left to do when it is over.
// The other side of PendingTensors; only collectives.cpp and p2p.cpp use it.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace c10d {
class Work;
}

namespace titan::distributed {

class ProcessGroup;

class InFlight {
 public:
  // An operation called `name` on `tensor` (whose shape stands in the error) by all of `group`.
  InFlight(const char* name, const at::Tensor& tensor, ProcessGroup& group);
  ~InFlight();

  // Calls the backend. Several calls make one operation; one may return null, where there is nothing to wait for.
  void start(const std::function<c10::intrusive_ptr<c10d::Work>()>& call);

  bool completed() const;
  // Waits for the backend, then runs `finish_`. Throws c10::Error, one line.
  std::vector<at::Tensor> finish();

  // Makes the results, once everything has arrived; keeps alive what they are made of.
  std::function<std::vector<at::Tensor>()> on_arrival;

 private:
  [[noreturn]] void fail(const std::exception& error) const;
  std::string description() const;

  const char* name_;
  std::vector<int64_t> sizes_;
  at::ScalarType dtype_;
  std::shared_ptr<ProcessGroup> group_;
  int64_t index_;  // of the group's operations
  std::chrono::steady_clock::time_point begin_;
  std::vector<c10::intrusive_ptr<c10d::Work>> works_;
};

}  // namespace titan::distributed
