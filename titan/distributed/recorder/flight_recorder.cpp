#include "titan/distributed/recorder/flight_recorder.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <optional>
#include <torch/csrc/distributed/c10d/Work.hpp>

namespace titan::distributed::recorder {

// A record with what tells its end. Slots are used again, so that a full ring allocates nothing.
struct FlightRecorder::Slot {
  Record record;
  c10::intrusive_ptr<c10d::Work> work;  // of a CPU, while it is not over
  std::optional<c10::Event> event;      // of a GPU; [Note: ends on a GPU]
  bool event_is_recorded = false;
};

// [Note: ends on a GPU]
// A work of NCCL holds the tensors it works on, so it must not live here: memory that the program has freed would be
// taken. What is kept is an event of ours, on the stream that waits for the operation, right behind that waiting.

namespace {

void copy_shape(const at::Tensor& tensor, Shape& shape) {
  shape.dtype = tensor.defined() ? tensor.scalar_type() : at::ScalarType::Undefined;
  if (tensor.defined()) {
    shape.sizes.assign(tensor.sizes().begin(), tensor.sizes().end());
  } else {
    shape.sizes.clear();
  }
}

}  // namespace

int64_t nanoseconds_since_1970() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

FlightRecorder::FlightRecorder(int64_t capacity) : capacity_(capacity) {
  TORCH_INTERNAL_ASSERT(capacity >= 1, "a flight recorder of ", capacity, " operations");
}

FlightRecorder::~FlightRecorder() = default;

Channel* FlightRecorder::channel(Channel channel) {
  const std::scoped_lock lock(mutex_);
  for (Channel& known : channels_) {
    if (known.key == channel.key) return &known;
  }
  return &channels_.emplace_back(std::move(channel));
}

int64_t FlightRecorder::begin(const Beginning& beginning) {
  const int64_t now = nanoseconds_since_1970();
  const std::scoped_lock lock(mutex_);
  const int64_t id = num_begun_++;
  const auto index = static_cast<size_t>(id % capacity_);
  if (index == ring_.size()) ring_.push_back(std::make_unique<Slot>());
  Slot& slot = *ring_[index];
  slot.work.reset();
  slot.event_is_recorded = false;
  Record& record = slot.record;
  record.id = id;
  record.channel = beginning.channel;
  record.sequence = beginning.sequence;
  record.operation = beginning.operation;
  record.backend_call = beginning.backend_call;
  copy_shape(beginning.input, record.input);
  copy_shape(beginning.output, record.output);
  record.module = served_module();
  record.timeout = beginning.timeout;
  record.enqueued_ns = now;
  record.started_ns = record.waiting_ns = record.done_ns = 0;
  record.channel->last_begun = record.sequence;
  return id;
}

FlightRecorder::Slot* FlightRecorder::find(int64_t id) const {
  if (id < 0) return nullptr;
  const auto index = static_cast<size_t>(id % capacity_);
  if (index >= ring_.size() || ring_[index]->record.id != id) return nullptr;
  return ring_[index].get();
}

void FlightRecorder::started(int64_t id, const c10::intrusive_ptr<c10d::Work>& work) {
  const int64_t now = nanoseconds_since_1970();
  const std::scoped_lock lock(mutex_);
  Slot* const slot = find(id);
  if (slot == nullptr) return;
  slot->record.started_ns = now;
  slot->work = work;
}

void FlightRecorder::waiting(int64_t id) {
  const int64_t now = nanoseconds_since_1970();
  const std::scoped_lock lock(mutex_);
  Slot* const slot = find(id);
  if (slot != nullptr) slot->record.waiting_ns = now;
}

void FlightRecorder::waited(int64_t id, at::Device device) {
  const std::scoped_lock lock(mutex_);
  Slot* const slot = find(id);
  if (slot == nullptr) return;
  slot->work.reset();
  if (device.is_cpu()) return set_done(*slot);
  if (!slot->event.has_value()) slot->event.emplace(device.type(), c10::EventFlag::BACKEND_DEFAULT);
  slot->event->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  slot->event_is_recorded = true;
}

void FlightRecorder::set_done(Slot& slot) {
  slot.record.done_ns = nanoseconds_since_1970();
  Channel& channel = *slot.record.channel;
  channel.last_done = std::max(channel.last_done, slot.record.sequence);
}

void FlightRecorder::look_for_ends() {
  // Works are asked without the lock: asking may take long, and must not hold up who begins another operation.
  std::vector<std::pair<int64_t, c10::intrusive_ptr<c10d::Work>>> asked;
  {
    const std::scoped_lock lock(mutex_);
    oldest_open_ = std::max(oldest_open_, num_begun_ - capacity_);
    bool all_over = true;
    for (int64_t id = oldest_open_; id < num_begun_; ++id) {
      Slot& slot = *find(id);
      const bool is_open = slot.record.done_ns == 0;
      if (is_open && slot.event_is_recorded && slot.event->query()) set_done(slot);
      if (is_open && slot.work != nullptr) asked.emplace_back(id, slot.work);
      all_over = all_over && slot.record.done_ns != 0;
      if (all_over) oldest_open_ = id + 1;
    }
  }
  for (auto& [id, work] : asked) {
    if (!work->isCompleted() || work->exception() != nullptr) continue;
    const std::scoped_lock lock(mutex_);
    Slot* const slot = find(id);
    if (slot == nullptr || slot->record.done_ns != 0) continue;
    slot->work.reset();
    set_done(*slot);
  }
}

std::vector<Record> FlightRecorder::open() const {
  const std::scoped_lock lock(mutex_);
  std::vector<Record> found;
  for (int64_t id = std::max(oldest_open_, num_begun_ - capacity_); id < num_begun_; ++id) {
    const Record& record = find(id)->record;
    if (record.done_ns == 0) found.push_back(record);
  }
  return found;
}

std::vector<Record> FlightRecorder::records() const {
  const std::scoped_lock lock(mutex_);
  std::vector<Record> all;
  for (int64_t id = std::max<int64_t>(0, num_begun_ - capacity_); id < num_begun_; ++id) {
    all.push_back(find(id)->record);
  }
  return all;
}

std::vector<Channel> FlightRecorder::channels() const {
  const std::scoped_lock lock(mutex_);
  return {channels_.begin(), channels_.end()};
}

}  // namespace titan::distributed::recorder
