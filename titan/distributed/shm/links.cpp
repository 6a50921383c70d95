#include "titan/distributed/shm/links.h"

#include <algorithm>

namespace titan::distributed::shm {
namespace {

constexpr int64_t kHeadBytes = 4096;
static_assert(sizeof(RankHead) <= kHeadBytes);

// A segment: the head, the ring to all, the rings to each other rank, those for messages.
class SegmentLayout {
 public:
  explicit SegmentLayout(int64_t size)
      : size_(size), to_all_(size - 1, kNumSlots, slot_bytes(size)), to_one_(1, kNumSlots, slot_bytes(size)) {}

  int64_t bytes() const { return kHeadBytes + to_all_.bytes() + 2 * (size_ - 1) * to_one_.bytes(); }
  const RingLayout& to_all() const { return to_all_; }
  const RingLayout& to_one() const { return to_one_; }

  static std::byte* ring_to_all(const Segment& segment) { return segment.data() + kHeadBytes; }
  // From the segment's rank to the one that is `step` further (from 1 on), for collectives or for messages.
  std::byte* ring_to_one(const Segment& segment, int64_t step, bool mail) const {
    const int64_t index = step - 1 + (mail ? size_ - 1 : 0);
    return segment.data() + kHeadBytes + to_all_.bytes() + index * to_one_.bytes();
  }

 private:
  // Enough slots for one side to fill while the other reads; slots of a size at which the copying outweighs the
  // waiting, and all rings of a group stay in the second-level cache.
  static constexpr int64_t kNumSlots = 4;
  static int64_t slot_bytes(int64_t size) {
    constexpr int64_t kLargest = 64 << 10, kSmallest = 16 << 10, kAll = 256 << 10;
    return std::clamp(kAll / size / 64 * 64, kSmallest, kLargest);
  }
  int64_t size_;
  RingLayout to_all_, to_one_;
};

}  // namespace

int64_t Links::segment_bytes(int64_t size) { return SegmentLayout(size).bytes(); }

void Links::write_head(Segment& segment) { reinterpret_cast<RankHead*>(segment.data())->process = Process::self(); }

Links::Links(std::vector<Segment> segments, int64_t rank, std::vector<int64_t> names)
    : segments_(std::move(segments)), rank_(rank), names_(std::move(names)) {
  const SegmentLayout layout(size());
  slot_bytes_ = layout.to_all().slot_bytes();
  const Segment& own = segments_[static_cast<size_t>(rank)];
  std::vector<RingWriter::Reader> readers;
  for (int64_t step = 1; step < size(); ++step) {
    const int64_t peer = (rank + step) % size();
    peers_.push_back(peer);
    readers.push_back({peer, &head(peer).rings_changed});

    const Segment& theirs = segments_[static_cast<size_t>(peer)];
    Bell* const bell = &head(peer).rings_changed;
    // This rank is size - step further than the peer.
    const int64_t step_back = size() - step;
    from_all_.emplace_back(SegmentLayout::ring_to_all(theirs), layout.to_all(), step_back - 1, peer, bell);
    for (const bool mail : {false, true}) {
      (mail ? mail_to_ : to_)
          .emplace_back(layout.ring_to_one(own, step, mail), layout.to_one(), std::vector{readers.back()});
      (mail ? mail_from_ : from_)
          .emplace_back(layout.ring_to_one(theirs, step_back, mail), layout.to_one(), 0, peer, bell);
    }
  }
  to_all_.emplace_back(SegmentLayout::ring_to_all(own), layout.to_all(), std::move(readers));
}

}  // namespace titan::distributed::shm
