#include "titan/distributed/shm/engine.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "titan/distributed/shm/algorithms.h"

namespace titan::distributed::shm {
namespace {

using std::chrono::milliseconds;

// How long a sleeper takes to see that a rank is gone or that its time is up.
constexpr milliseconds kCheckInterval{100};

}  // namespace

class Engine::Locked {
 public:
  explicit Locked(Engine& engine) : engine_(engine), lock_(engine.mutex_) {}
  ~Locked() {
    const auto due = std::exchange(engine_.due_, {});
    lock_.unlock();
    for (const auto& action : due) action();
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  Engine& engine_;
  std::unique_lock<std::mutex> lock_;
};

Engine::Engine(std::unique_ptr<Links> links)
    : links_(std::move(links)), queues_(static_cast<size_t>(1 + 2 * links_->size())) {
  worker_ = std::thread([this] { work(); });
}

Engine::~Engine() {
  // 1. What others still need.
  Pause pause(yielding_);
  ++num_waiting_;
  const auto done = [this] {
    const Locked lock(*this);
    return !somebody_needs_this_rank();
  };
  while (!done()) pause_or_sleep(pause, done);
  --num_waiting_;
  // 2. Who waits for more will wait in vain.
  auto open = RankState::kOpen;
  links_->own_head().state.compare_exchange_strong(open, RankState::kClosed);
  for (const int64_t peer : links_->peers()) links_->head(peer).rings_changed.ring();
  // 3. The worker.
  stopping_ = true;
  call_worker();
  worker_.join();
}

Engine::Queue& Engine::queue(Lane lane) {
  switch (lane.kind) {
    case Lane::Kind::kSend:
      return queues_[static_cast<size_t>(1 + lane.peer)];
    case Lane::Kind::kReceive:
      return queues_[static_cast<size_t>(1 + links_->size() + lane.peer)];
    case Lane::Kind::kCollective:
      break;
  }
  return queues_.front();
}

std::shared_ptr<Operation> Engine::start(Lane lane, Task task, std::vector<at::Tensor> tensors, milliseconds timeout) {
  auto operation = std::make_shared<Operation>(std::move(task), std::move(tensors), Clock::now() + timeout);
  bool call = false;
  {
    const Locked lock(*this);
    if (failure_) std::rethrow_exception(failure_);
    queue(lane).push_back(operation);
    ++num_in_flight_;
    links_->own_head().num_in_flight.store(static_cast<uint32_t>(num_in_flight_), std::memory_order_relaxed);
    advance_locked();
    call = somebody_needs_this_rank() && num_waiting_ == 0;
  }
  if (call) call_worker();
  return operation;
}

void Engine::wait(Operation& operation) {
  ++num_waiting_;
  Pause pause(yielding_);
  const auto over = [&] { return operation.over.load(); };
  while (!over()) pause_or_sleep(pause, over);
  --num_waiting_;
  bool call = false;
  {
    const Locked lock(*this);
    call = somebody_needs_this_rank();
  }
  if (call) call_worker();
  if (operation.error) std::rethrow_exception(operation.error);
}

void Engine::hurry(Operation& operation, milliseconds timeout) {
  const Locked lock(*this);
  operation.deadline = std::min(operation.deadline, Clock::now() + timeout);
}

bool Engine::poll(Operation& operation) {
  advance();
  return operation.over.load();
}

void Engine::when_over(Operation& operation, std::function<void()> action) {
  {
    const Locked lock(*this);
    if (!operation.over) {
      operation.when_over = std::move(action);
      action = nullptr;
    }
  }
  if (action) {
    action();
  } else {
    call_worker();
  }
}

bool Engine::advance() {
  const Locked lock(*this);
  return advance_locked();
}

bool Engine::advance_locked() {
  if (num_in_flight_ == 0) return false;
  bool advanced = false;
  try {
    for (Queue& queue : queues_) {
      while (!queue.empty() && queue.front()->task.can_go_on()) {
        queue.front()->task.go_on();
        advanced = true;
        if (queue.front()->task.over()) finish(queue);
      }
    }
  } catch (const std::exception&) {
    fail(std::current_exception());
    advanced = true;
  }
  return advanced;
}

void Engine::finish(Queue& queue) {
  const std::shared_ptr<Operation> operation = std::move(queue.front());
  queue.pop_front();
  --num_in_flight_;
  links_->own_head().num_in_flight.store(static_cast<uint32_t>(num_in_flight_), std::memory_order_relaxed);
  operation->error = failure_;
  operation->over = true;
  if (operation->when_over) due_.push_back(std::move(operation->when_over));
}

void Engine::fail(const std::exception_ptr& error) {
  failure_ = error;
  links_->own_head().state = RankState::kFailed;
  for (Queue& queue : queues_) {
    while (!queue.empty()) finish(queue);
  }
  for (const int64_t peer : links_->peers()) links_->head(peer).rings_changed.ring();
}

bool Engine::somebody_needs_this_rank() {
  return std::any_of(queues_.begin(), queues_.end(), [](const Queue& queue) {
    return std::any_of(queue.begin(), queue.end(),
                       [](const auto& operation) { return !operation->task.has_sent_all() || operation->when_over; });
  });
}

void Engine::pause_or_sleep(Pause& pause, const std::function<bool()>& satisfied) {
  if (advance()) {
    pause.restart();
  } else if (!pause.brief()) {
    sleep(satisfied);
  }
}

void Engine::sleep(const std::function<bool()>& satisfied) {
  Bell& bell = links_->own_head().rings_changed;
  const uint32_t ticket = bell.enlist();
  if (advance() || satisfied()) {
    bell.leave();
    return;
  }
  // A rank that computes meanwhile may have something to read first.
  for (const int64_t peer : links_->peers()) {
    RankHead& head = links_->head(peer);
    if (head.num_in_flight.load(std::memory_order_relaxed) > 0) head.attention.ring();
  }
  bell.sleep(ticket, kCheckInterval);
  check_for_failures();
}

void Engine::check_for_failures() {
  const Locked lock(*this);
  if (num_in_flight_ == 0) return;
  const std::string reason = reason_to_fail();
  // What a rank wrote before it went still counts.
  if (reason.empty() || advance_locked()) return;
  fail(std::make_exception_ptr(c10::Error({__func__, __FILE__, static_cast<uint32_t>(__LINE__)}, reason)));
}

std::string Engine::reason_to_fail() {
  const auto now = Clock::now();
  for (const Queue& queue : queues_) {
    if (queue.empty()) continue;
    const RingEnd* const end = queue.front()->task.waits_for();
    const int64_t peer = end != nullptr ? end->waits_for() : links_->rank();
    if (now >= queue.front()->deadline) return fmt::format("timed out waiting for {}", links_->name(peer));
    if (links_->head(peer).state.load() == RankState::kClosed) {
      return fmt::format("{} has left the group", links_->name(peer));
    }
  }
  const bool look_for_processes = now - last_check_ >= kCheckInterval;
  if (look_for_processes) last_check_ = now;
  for (const int64_t peer : links_->peers()) {
    const RankHead& head = links_->head(peer);
    const auto state = head.state.load();
    if (state == RankState::kFailed) return fmt::format("{} has given up", links_->name(peer));
    if (state == RankState::kOpen && look_for_processes && !head.process.runs()) {
      return fmt::format("{}'s process {} is gone", links_->name(peer), head.process.pid);
    }
  }
  return "";
}

// --- the worker ---

void Engine::call_worker() {
  worker_wanted_ = true;
  links_->own_head().attention.ring();
}

void Engine::work() {
  constexpr std::chrono::hours kForever{1};
  const auto unneeded = [this] { return stopping_ || num_waiting_ > 0; };
  Bell& attention = links_->own_head().attention;
  while (!stopping_) {
    const uint32_t ticket = attention.enlist();
    if (stopping_ || worker_wanted_.exchange(false)) {
      attention.leave();
    } else {
      attention.sleep(ticket, kForever);
      worker_wanted_ = false;
    }
    Pause pause(yielding_);
    while (!unneeded()) {
      {
        const Locked lock(*this);
        if (num_in_flight_ == 0) break;
      }
      pause_or_sleep(pause, unneeded);
    }
  }
}

}  // namespace titan::distributed::shm
