// The dumps of all ranks side by side: for each channel, who did what under which number.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "titan/trace/dump_file.h"
#include "titan/trace/history.h"

namespace titan::trace {

// One rank's part of a channel. Its operations are numbered without gaps; the first ones may be lost.
struct Track {
  std::vector<const Operation*> operations;
  int64_t first() const { return operations.empty() ? 0 : operations.front()->sequence; }
  int64_t last() const { return operations.empty() ? -1 : operations.back()->sequence; }
  // Null if it is lost or was never begun.
  const Operation* find(int64_t sequence) const;
};

struct Lane {
  const Channel* channel = nullptr;
  std::map<int64_t, Track> tracks;  // by rank, of those that left a dump and know the channel
  // Ranks that left a dump and have not begun operation `sequence`.
  std::vector<int64_t> behind(int64_t sequence) const;
};

class RanksTogether {
 public:
  // Keeps `dumps`, of at least one rank.
  explicit RanksTogether(std::vector<Dump> dumps);
  RanksTogether(const RanksTogether&) = delete;  // what it holds points into it
  RanksTogether& operator=(const RanksTogether&) = delete;

  const std::map<int64_t, Dump>& dumps() const { return dumps_; }
  const std::map<std::string, Lane>& lanes() const { return lanes_; }
  const Lane& lane_of(const Operation& operation) const { return lanes_.at(operation.channel); }
  // Ranks of the job, or of channels, without a dump.
  const std::vector<int64_t>& silent() const { return silent_; }
  bool left_dump(int64_t rank) const { return dumps_.contains(rank); }

  // The operation that the rank blocks on; null: on none.
  const Operation* waits_in(int64_t rank) const;

  // A number that operations of one channel share if they may meet: equal names, shapes, dtypes and modules; of
  // messages, shapes and dtypes.
  int64_t kind_of(const Operation& operation) const { return kinds_.at(&operation); }
  // All that a rank did, channels told apart.
  Stream stream_of(int64_t rank) const;
  // What the rank would have begun next, by what it did before; null: there is no telling. An operation of the past
  // that is like it.
  const Operation* expected_next(int64_t rank) const;

 private:
  std::map<int64_t, Dump> dumps_;
  std::map<std::string, Lane> lanes_;
  std::vector<int64_t> silent_;
  std::map<const Operation*, int64_t> kinds_;
};

}  // namespace titan::trace
