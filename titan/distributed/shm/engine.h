// Runs the operations of one rank in one group: collectives one after another, messages to and from each peer one
// after another, all of these side by side. Operations advance on whatever thread has nothing better to do: on the
// caller's as it starts one, which is all that a small one needs; on the one that waits for a result; and on a thread
// of the engine while an operation has more to send and nobody waits, or when another rank asks.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "titan/distributed/shm/links.h"
#include "titan/distributed/shm/pause.h"
#include "titan/distributed/shm/task.h"

namespace titan::distributed::shm {

using Clock = std::chrono::steady_clock;

// One operation under way.
struct Operation {
  Operation(Task task, std::vector<at::Tensor> tensors, Clock::time_point deadline)
      : task(std::move(task)), tensors(std::move(tensors)), deadline(deadline) {}
  Task task;
  std::vector<at::Tensor> tensors;  // whose memory the task uses
  Clock::time_point deadline;       // guarded by the engine
  std::function<void()> when_over;  // guarded by the engine; called once, on any thread, without its lock
  std::exception_ptr error;         // written before `over`
  std::atomic<bool> over = false;
};

// Thread-safe. After an operation has failed (a rank is gone, the deadline has passed, ranks do different things), so
// do all others, at once, with the same error.
class Engine {
 public:
  explicit Engine(std::unique_ptr<Links> links);
  // Returns once no other rank needs anything more of what was started.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  Links& links() { return *links_; }

  // What must happen in the order of its start.
  struct Lane {
    enum class Kind { kCollective, kSend, kReceive };
    Kind kind = Kind::kCollective;
    int64_t peer = 0;
  };
  std::shared_ptr<Operation> start(Lane lane, Task task, std::vector<at::Tensor> tensors,
                                   std::chrono::milliseconds timeout);

  // Blocks until it is over, at the latest at its deadline. Throws c10::Error if it failed.
  void wait(Operation& operation);
  // Makes its deadline `timeout` from now, unless it is before that.
  void hurry(Operation& operation, std::chrono::milliseconds timeout);
  // Whether it is over, after advancing it as far as it goes without waiting.
  bool poll(Operation& operation);
  // Calls `action` when it is over, on any thread; the engine sees to it that it gets there.
  void when_over(Operation& operation, std::function<void()> action);

 private:
  using Queue = std::deque<std::shared_ptr<Operation>>;

  Queue& queue(Lane lane);
  bool advance();  // whether anything went on
  // Holds mutex_; what operations that got over meanwhile have to do is done once it is free again.
  class Locked;
  bool advance_locked();      // needs Locked; so do those below
  void finish(Queue& queue);  // its front
  void fail(const std::exception_ptr& error);
  bool somebody_needs_this_rank();  // to go on by itself

  void pause_or_sleep(Pause& pause, const std::function<bool()>& satisfied);
  void sleep(const std::function<bool()>& satisfied);
  void check_for_failures();
  std::string reason_to_fail();

  void work();
  void call_worker();

  std::unique_ptr<Links> links_;
  Yielding yielding_;

  std::mutex mutex_;  // guards the rest, but for the atomics
  std::vector<Queue> queues_;
  int64_t num_in_flight_ = 0;
  std::exception_ptr failure_;
  std::vector<std::function<void()>> due_;  // actions of operations that are over
  Clock::time_point last_check_{};

  std::atomic<int64_t> num_waiting_ = 0;  // threads that advance everything, so that the worker need not
  std::atomic<bool> worker_wanted_ = false, stopping_ = false;
  std::thread worker_;
};

}  // namespace titan::distributed::shm
