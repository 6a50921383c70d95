#include "titan/distributed/in_flight.h"

#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include "titan/distributed/failure.h"
#include "titan/distributed/p2p.h"
#include "titan/distributed/process_group.h"
#include "titan/distributed/recorder/flight_recorder.h"
#include "titan/distributed/recorder/watchdog.h"

namespace titan::distributed {
namespace {

// What this thread spends on other ranks, in profiles: backends are called past the dispatcher.
constexpr char kScope[] = "titan::communicate";

}  // namespace

InFlight::InFlight(const char* name, const at::Tensor& tensor, ProcessGroup& group,
                   const std::vector<Message>* messages)
    : name_(name),
      sizes_(tensor.sizes().vec()),
      dtype_(tensor.scalar_type()),
      group_(group.shared_from_this()),
      device_(tensor.device()) {
  const auto& before_operation = group.observers().before_operation;
  if (before_operation) is_left_out_ = !before_operation({name, tensor, messages}, group);
  begin_ = std::chrono::steady_clock::now();
}

InFlight::~InFlight() = default;

void InFlight::start(const BackendCall& call, const Start& start) {
  if (is_left_out_) return;
  which_ = {.number = group_->next_collective()};
  this->start(group_->collectives(), name_, call, start);
}

void InFlight::start(const Message& message, int64_t number, const Start& start) {
  const bool sends = message.direction == Message::Direction::kSend;
  which_ = {.number = number, .peer = message.peer, .sends = sends};
  this->start(sends ? group_->messages_to(message.peer) : group_->messages_from(message.peer),
              sends ? "send" : "receive", {sends ? "send" : "recv", message.tensor, message.tensor}, start);
}

void InFlight::end_as_one(const Start& end) {
  if (is_left_out_) return;
  try {
    parts_.push_back(Part{which_, -1, end()});
  } catch (const std::exception& error) {
    fail(error);
  }
}

void InFlight::start(recorder::Channel* channel, const char* operation, const BackendCall& call, const Start& start) {
  RECORD_USER_SCOPE(kScope);
  recorder::FlightRecorder* const recorder = group_->observers().recorder.get();
  int64_t record = -1;
  if (recorder != nullptr) {
    record =
        recorder->begin({channel, which_.number, operation, call.name, call.input, call.output, group_->timeout()});
  }
  try {
    parts_.push_back(Part{which_, record, start()});
  } catch (const std::exception& error) {
    fail(error);
  }
  if (recorder != nullptr) recorder->started(record, parts_.back().work);
}

bool InFlight::completed() const {
  return std::all_of(parts_.begin(), parts_.end(),
                     [](const Part& part) { return part.work == nullptr || part.work->isCompleted(); });
}

std::vector<at::Tensor> InFlight::finish() {
  RECORD_USER_SCOPE(kScope);
  recorder::FlightRecorder* const recorder = group_->observers().recorder.get();
  auto first_open = parts_.begin();
  for (auto part = parts_.begin(); part != parts_.end(); ++part) {
    if (recorder != nullptr) recorder->waiting(part->record);
    if (part->work == nullptr) continue;
    which_ = part->which;
    try {
      // Gloo's messages know the timeout of their connection only.
      const bool is_message_of_cpu = which_.peer >= 0 && device_.is_cpu();
      part->work->wait(is_message_of_cpu ? group_->timeout() : kNoTimeout);
    } catch (const std::exception& error) {
      fail(error);
    }
    for (; recorder != nullptr && first_open <= part; ++first_open) recorder->waited(first_open->record, device_);
  }
  const at::NoGradGuard no_grad;
  return on_arrival();
}

std::string InFlight::description() const {
  const auto& [number, peer, sends] = which_;
  const std::string which = peer < 0 ? fmt::format("operation {} of {}", number, group_->name())
                                     : fmt::format("message {} {} rank {}", number, sends ? "to" : "from",
                                                   group_->ranks()[static_cast<size_t>(peer)]);
  return fmt::format("{} of {} [{}] ({})", name_, at::toString(dtype_), fmt::join(sizes_, ", "), which);
}

void InFlight::fail(const std::exception& error) const {
  const GroupObservers& observers = group_->observers();
  if (observers.watchdog != nullptr) observers.watchdog->dump(recorder::Reason::kOperation, description());
  throw_failure(description(), group_->ranks(), group_->ranks()[static_cast<size_t>(group_->rank())], begin_,
                observers.heartbeat.get(), error);
}

}  // namespace titan::distributed
