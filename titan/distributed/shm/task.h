// An operation as a coroutine: it reads from top to bottom like the blocking algorithm, but where that would wait for
// a ring it returns to the engine, which resumes it once the ring is ready. No thread belongs to it.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

#include "titan/distributed/shm/ring.h"

namespace titan::distributed::shm {

class Task {
 public:
  struct promise_type;
  using Handle = std::coroutine_handle<promise_type>;
  struct promise_type {
    RingEnd* waits_for = nullptr;
    bool has_sent_all = false;
    std::exception_ptr error;

    Task get_return_object() { return Task(Handle::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() { has_sent_all = true; }
    void unhandled_exception() { error = std::current_exception(); }
  };

  ~Task() {
    if (handle_) handle_.destroy();
  }
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  bool can_go_on() const { return waits_for() == nullptr || waits_for()->ready(); }
  // Runs on to where it must wait again, or to its end. Throws what it throws.
  void go_on() {
    handle_.resume();
    if (handle_.promise().error) std::rethrow_exception(handle_.promise().error);
  }
  bool over() const { return handle_.done(); }

  // The ring it waits for; null before it starts.
  RingEnd* waits_for() const { return handle_.promise().waits_for; }
  // Whether only reading is left, so that no other rank needs it to go on.
  bool has_sent_all() const { return handle_.promise().has_sent_all; }

 private:
  explicit Task(Handle handle) : handle_(handle) {}
  Handle handle_;
};

// co_await ready(ring): goes on when the ring's next slot can be filled, or read.
struct Ready {
  RingEnd& end;
  bool await_ready() const { return end.ready(); }
  void await_suspend(Task::Handle task) const { task.promise().waits_for = &end; }
  void await_resume() const {}
};
inline Ready ready(RingEnd& end) { return {end}; }

// co_await all_sent: says that from here on the operation only reads.
struct AllSent {
  bool await_ready() const { return false; }
  bool await_suspend(Task::Handle task) const {
    task.promise().has_sent_all = true;
    return false;
  }
  void await_resume() const {}
};
inline constexpr AllSent all_sent;

}  // namespace titan::distributed::shm
