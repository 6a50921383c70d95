// A ring of slots in shared memory, from one writer to one reader or several, each of whom reads everything. A slot
// holds up to slot_bytes() of a message, in one piece. Writer and reader each live in one process; neither blocks, and
// each side is used by one thread at a time. What waits for them is the engine's business. Counts are stored and
// loaded as [Note: no lost wake-up] asks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "titan/distributed/shm/bell.h"

namespace titan::distributed::shm {

// What a message is: equal on both sides, or the ranks are not doing the same.
struct Label {
  uint32_t kind = 0;   // which operation
  uint32_t tag = 0;    // what else must agree: a dtype, a source, a tag
  uint64_t bytes = 0;  // of the whole message
  bool operator==(const Label&) const = default;
};

// Where the parts of a ring lie. Its memory starts as zeros.
class RingLayout {
 public:
  RingLayout(int64_t num_readers, int64_t num_slots, int64_t slot_bytes)
      : num_readers_(num_readers), num_slots_(num_slots), slot_bytes_(slot_bytes) {}

  int64_t num_readers() const { return num_readers_; }
  int64_t num_slots() const { return num_slots_; }
  int64_t slot_bytes() const { return slot_bytes_; }
  int64_t bytes() const { return kLine * num_readers_ + num_slots_ * (kLine + slot_bytes_); }

  // The head of a slot. The n-th slot ever filled (from 0) has the number n + 1 once it can be read.
  struct alignas(64) Slot {
    std::atomic<uint64_t> number;
    Label label;
  };
  // How many slots a reader is done with; each on a line of its own.
  struct alignas(64) Count {
    std::atomic<uint64_t> value;
  };
  static_assert(std::atomic<uint64_t>::is_always_lock_free);

  Count& num_read(std::byte* ring, int64_t reader) const { return reinterpret_cast<Count*>(ring)[reader]; }
  Slot& slot(std::byte* ring, uint64_t position) const {
    const auto index = static_cast<int64_t>(position % static_cast<uint64_t>(num_slots_));
    return *reinterpret_cast<Slot*>(ring + kLine * num_readers_ + index * (kLine + slot_bytes_));
  }
  std::byte* data(std::byte* ring, uint64_t position) const {
    return reinterpret_cast<std::byte*>(&slot(ring, position)) + kLine;
  }

 private:
  static constexpr int64_t kLine = 64;  // of the cache
  int64_t num_readers_, num_slots_, slot_bytes_;
};

// An end of a ring: what an operation waits for.
class RingEnd {
 public:
  virtual ~RingEnd() = default;
  // Whether the next slot can be filled, or read.
  virtual bool ready() = 0;
  // For whom one waits while it is not.
  virtual int64_t waits_for() const = 0;
};

class RingWriter final : public RingEnd {
 public:
  struct Reader {
    int64_t rank;
    Bell* bell;  // rung when there is something to read
  };
  RingWriter(std::byte* ring, RingLayout layout, std::vector<Reader> readers)
      : ring_(ring), layout_(layout), readers_(std::move(readers)) {}

  bool ready() override {
    for (; slowest_ < readers_.size(); ++slowest_) {
      const auto& count = layout_.num_read(ring_, static_cast<int64_t>(slowest_));
      if (position_ - count.value.load() >= static_cast<uint64_t>(layout_.num_slots())) {
        return false;
      }
    }
    return true;
  }
  int64_t waits_for() const override { return readers_[slowest_].rank; }

  // When ready(): fill data(), then publish() it.
  std::byte* data() { return layout_.data(ring_, position_); }
  void publish(const Label& label) {
    RingLayout::Slot& slot = layout_.slot(ring_, position_);
    slot.label = label;
    slot.number.store(++position_);
    slowest_ = 0;
    for (const Reader& reader : readers_) reader.bell->ring();
  }

 private:
  std::byte* ring_;
  RingLayout layout_;
  std::vector<Reader> readers_;
  uint64_t position_ = 0;  // slots filled
  size_t slowest_ = 0;     // readers before it have room for the next slot
};

class RingReader final : public RingEnd {
 public:
  // The `index`-th reader of the ring of `writer`, whose bell is rung when there is room.
  RingReader(std::byte* ring, RingLayout layout, int64_t index, int64_t writer, Bell* bell)
      : ring_(ring), layout_(layout), index_(index), writer_(writer), bell_(bell) {}

  bool ready() override { return layout_.slot(ring_, position_).number.load() == position_ + 1; }
  int64_t waits_for() const override { return writer_; }

  // When ready(): read data(), then release() it.
  const Label& label() const { return layout_.slot(ring_, position_).label; }
  const std::byte* data() const { return layout_.data(ring_, position_); }
  void release() {
    layout_.num_read(ring_, index_).value.store(++position_);
    bell_->ring();
  }

 private:
  std::byte* ring_;
  RingLayout layout_;
  int64_t index_, writer_;
  Bell* bell_;
  uint64_t position_ = 0;  // slots released
};

}  // namespace titan::distributed::shm
