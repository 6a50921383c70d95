// The flight recorder of a rank: a ring of the last operations that it began, on every backend, with when they were
// begun and over. It writes nothing and judges nothing: dump.h writes it down, titan/trace reads what all ranks wrote.
//
// The one seam is InFlight (collectives) and exchange (messages), above the backends: shapes and dtypes are the
// caller's there, and Gloo, shared memory, NCCL and the fake backend look alike. Empty tensors reach no backend and are
// no operations. What an operation costs here is in benchmarks/recorder.md.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "titan/distributed/recorder/record.h"

namespace c10d {
class Work;
}

namespace titan::distributed::recorder {

// An operation as it begins. Tensors that are not there are undefined.
struct Beginning {
  Channel* channel = nullptr;
  int64_t sequence = 0;
  const char* operation = "";
  const char* backend_call = "";
  const at::Tensor& input;
  const at::Tensor& output;
  std::chrono::milliseconds timeout{0};
};

// Thread-safe. One rank's.
class FlightRecorder {
 public:
  // Keeps the last `capacity` operations, of at least one.
  explicit FlightRecorder(int64_t capacity);
  ~FlightRecorder();
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  // Lives as long as the recorder. A key that is known gives the channel that is.
  Channel* channel(Channel channel);

  // The life of an operation, in this order, each with the id that begin() gave; one that the ring has lost, and -1, do
  // nothing.
  int64_t begin(const Beginning& beginning);
  // The backend has it. `work`: what tells its end; null: somebody else's does.
  void started(int64_t id, const c10::intrusive_ptr<c10d::Work>& work);
  void waiting(int64_t id);
  // Of a CPU: it is over. Of a GPU: the current stream waits for it, so it is over when the stream is here.
  void waited(int64_t id, at::Device device);

  // Notices what got over since, of what nobody waited for or what streams wait for.
  void look_for_ends();

  // What is not over, oldest first.
  std::vector<Record> open() const;
  // Everything that the ring holds, oldest first, and all channels.
  std::vector<Record> records() const;
  std::vector<Channel> channels() const;
  int64_t capacity() const { return capacity_; }

 private:
  struct Slot;
  Slot* find(int64_t id) const;      // needs mutex_
  static void set_done(Slot& slot);  // needs mutex_

  const int64_t capacity_;
  mutable std::mutex mutex_;      // guards what follows
  std::deque<Channel> channels_;  // at fixed addresses
  std::vector<std::unique_ptr<Slot>> ring_;
  int64_t num_begun_ = 0;
  int64_t oldest_open_ = 0;  // every record before it is over
};

int64_t nanoseconds_since_1970();

}  // namespace titan::distributed::recorder
