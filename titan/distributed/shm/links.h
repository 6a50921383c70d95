// All that one rank of a group shares with the others: each rank has a segment, with a head that says how it is and
// the rings that it writes. Every rank maps the segments of all.
//   to_all         one ring, read by everybody
//   to(peer)       one ring per peer, for collectives
//   mail_to(peer)  one ring per peer, for messages, which come in an order of their own
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "titan/distributed/shm/bell.h"
#include "titan/distributed/shm/process.h"
#include "titan/distributed/shm/ring.h"
#include "titan/distributed/shm/segment.h"

namespace titan::distributed::shm {

enum class RankState : uint32_t { kOpen = 0, kClosed, kFailed };

// The head of a rank's segment.
struct RankHead {
  Bell rings_changed;                   // rung when a ring that the rank reads or writes has changed
  Bell attention;                       // rung when another rank is about to sleep, and may need this one to go on
  std::atomic<RankState> state;         // of its engine
  std::atomic<uint32_t> num_in_flight;  // operations
  Process process;
};

class Links {
 public:
  // How much memory each rank of a group of `size` brings, most of it never touched unless used.
  static int64_t segment_bytes(int64_t size);
  // Fills in the head of a new segment of this process.
  static void write_head(Segment& segment);

  // The `rank`-th rank of a group; `names` are the ranks' numbers in the job.
  Links(std::vector<Segment> segments, int64_t rank, std::vector<int64_t> names);

  int64_t rank() const { return rank_; }
  int64_t size() const { return static_cast<int64_t>(segments_.size()); }
  // The others, beginning with the next: so not all begin with the same.
  const std::vector<int64_t>& peers() const { return peers_; }
  // "rank 3", as the job counts.
  std::string name(int64_t peer) const { return "rank " + std::to_string(names_[static_cast<size_t>(peer)]); }

  RankHead& head(int64_t rank) { return *reinterpret_cast<RankHead*>(segments_[static_cast<size_t>(rank)].data()); }
  RankHead& own_head() { return head(rank_); }

  // The largest piece of a message.
  int64_t slot_bytes() const { return slot_bytes_; }

  RingWriter& to_all() { return to_all_.front(); }
  RingReader& from_all(int64_t peer) { return from_all_[index(peer)]; }
  RingWriter& to(int64_t peer) { return to_[index(peer)]; }
  RingReader& from(int64_t peer) { return from_[index(peer)]; }
  RingWriter& mail_to(int64_t peer) { return mail_to_[index(peer)]; }
  RingReader& mail_from(int64_t peer) { return mail_from_[index(peer)]; }

 private:
  // Position of `peer` in peers().
  size_t index(int64_t peer) const { return static_cast<size_t>((peer - rank_ + size()) % size() - 1); }

  std::vector<Segment> segments_;
  int64_t rank_;
  std::vector<int64_t> names_, peers_;
  int64_t slot_bytes_;
  std::vector<RingWriter> to_all_;  // one
  std::vector<RingWriter> to_, mail_to_;
  std::vector<RingReader> from_all_, from_, mail_from_;
};

}  // namespace titan::distributed::shm
