// One operation that a backend has under way: what it is called in an error, what the flight recorder keeps of it, and
// what is left to do when it is over. The other side of PendingTensors; only collectives.cpp and p2p.cpp use it.
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

namespace recorder {
struct Channel;
}
class ProcessGroup;
struct Message;

// A call of a backend, as the flight recorder keeps it.
struct BackendCall {
  const char* name;  // c10d's: "_all_gather_base"
  // As they go there, in the caller's dtype; undefined where there is none.
  const at::Tensor& input;
  const at::Tensor& output;
};

class InFlight {
 public:
  using Start = std::function<c10::intrusive_ptr<c10d::Work>()>;

  // An operation called `name` on `tensor` (whose shape stands in the error) by all of `group`, or, of `messages`, by
  // this rank and those it names.
  InFlight(const char* name, const at::Tensor& tensor, ProcessGroup& group,
           const std::vector<Message>* messages = nullptr);
  ~InFlight();

  // Whether a test wants it left out: nothing may be started.
  bool is_left_out() const { return is_left_out_; }

  // Calls the backend. Several calls make one operation; one may return null, where another's end is its end too.
  void start(const BackendCall& call, const Start& start);
  // A message, the `number`-th of those between the two ranks in its direction.
  void start(const Message& message, int64_t number, const Start& start);
  // The end of messages that were started as one.
  void end_as_one(const Start& end);

  bool completed() const;
  // Waits for the backend, then runs `finish_`. Throws c10::Error, one line.
  std::vector<at::Tensor> finish();

  // Makes the results, once everything has arrived; keeps alive what they are made of.
  std::function<std::vector<at::Tensor>()> on_arrival;

 private:
  // One call among those of the group, or a message among those to or from `peer`.
  struct Which {
    int64_t number = -1, peer = -1;
    bool sends = false;
  };
  struct Part {
    Which which;
    int64_t record;                       // the recorder's id; -1: none
    c10::intrusive_ptr<c10d::Work> work;  // null: over with a later part
  };
  void start(recorder::Channel* channel, const char* operation, const BackendCall& call, const Start& start);
  [[noreturn]] void fail(const std::exception& error) const;
  std::string description() const;

  const char* name_;
  std::vector<int64_t> sizes_;
  at::ScalarType dtype_;
  std::shared_ptr<ProcessGroup> group_;
  at::Device device_;
  bool is_left_out_ = false;
  Which which_;  // what began, or is waited for, last
  std::chrono::steady_clock::time_point begin_;
  std::vector<Part> parts_;
};

}  // namespace titan::distributed
