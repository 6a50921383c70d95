#include "titan/profiling/host_time.h"

#include <ATen/record_function.h>
#include <c10/util/Exception.h>

#include <chrono>
#include <memory>
#include <vector>

namespace titan::profiling {
namespace {

using Clock = std::chrono::steady_clock;

// The categories that this thread is inside of; whatever time passes goes to the innermost.
class Stopwatch {
 public:
  void enter(Category category) {
    charge();
    const bool outer_decides =
        !inside_.empty() && inside_.back() != Category::kOther && category != Category::kCommunication;
    inside_.push_back(outer_decides ? inside_.back() : category);
  }

  void leave() {
    charge();
    inside_.pop_back();
  }

  TimeByCategory stop() {
    charge();
    return time_;
  }

 private:
  void charge() {
    const Clock::time_point now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    (inside_.empty() ? time_.idle_seconds : time_[inside_.back()]) += seconds;
    last_ = now;
  }

  TimeByCategory time_;
  std::vector<Category> inside_;
  Clock::time_point last_ = Clock::now();
};

// A global, since the dispatcher's callbacks are plain functions. Null on threads that are not measured: callbacks
// travel to those that a backend starts.
thread_local Stopwatch* g_stopwatch = nullptr;

// Marks a call that was entered.
struct Entered : at::ObserverContext {};

std::unique_ptr<at::ObserverContext> start(const at::RecordFunction& call) {
  const Category category = category_of_operator(call.name());
  // Scopes of others may end on other threads.
  const bool is_ours = call.scope() == at::RecordScope::FUNCTION || category != Category::kOther;
  if (g_stopwatch == nullptr || !is_ours) return {};
  g_stopwatch->enter(category);
  return std::make_unique<Entered>();
}

void end(const at::RecordFunction&, at::ObserverContext* context) {
  if (context != nullptr && g_stopwatch != nullptr) g_stopwatch->leave();
}

// Watches this thread while it lives.
class Watch {
 public:
  explicit Watch(Stopwatch& stopwatch) {
    TORCH_INTERNAL_ASSERT(g_stopwatch == nullptr, "this thread is measured already");
    g_stopwatch = &stopwatch;
    callbacks_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback(&start, &end).scopes({at::RecordScope::FUNCTION, at::RecordScope::USER_SCOPE}));
  }
  ~Watch() {
    at::removeCallback(callbacks_);
    g_stopwatch = nullptr;
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  at::CallbackHandle callbacks_;
};

}  // namespace

TimeByCategory host_time_of(const std::function<void()>& work) {
  Stopwatch stopwatch;
  const Watch watch(stopwatch);
  work();
  return stopwatch.stop();
}

}  // namespace titan::profiling
