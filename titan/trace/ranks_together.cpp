#include "titan/trace/ranks_together.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <unordered_map>

namespace titan::trace {
namespace {

std::string to_text(const Shape& shape) { return fmt::format("{} {}", shape.dtype, fmt::join(shape.sizes, ",")); }

// What must agree, in words; see kind_of.
std::string text_of_kind(const Operation& operation, const Channel& channel) {
  if (channel.is_messages) return fmt::format("{}|{}", channel.key, to_text(operation.output));
  // Splits may differ from rank to rank.
  const bool has_splits = operation.name == "all_to_all";
  return fmt::format("{}|{}|{}|{}|{}", channel.key, operation.name, operation.module,
                     has_splits ? operation.input.dtype : to_text(operation.input),
                     has_splits ? operation.output.dtype : to_text(operation.output));
}

}  // namespace

const Operation* Track::find(int64_t sequence) const {
  const auto found = std::lower_bound(operations.begin(), operations.end(), sequence,
                                      [](const Operation* operation, int64_t n) { return operation->sequence < n; });
  return found == operations.end() || (*found)->sequence != sequence ? nullptr : *found;
}

std::vector<int64_t> Lane::behind(int64_t sequence) const {
  std::vector<int64_t> ranks;
  for (const auto& [rank, track] : tracks) {
    if (track.last() < sequence) ranks.push_back(rank);
  }
  return ranks;
}

RanksTogether::RanksTogether(std::vector<Dump> dumps) {
  for (Dump& dump : dumps) dumps_.emplace(dump.rank, std::move(dump));
  std::set<int64_t> known;
  for (int64_t rank = 0; rank < dumps_.begin()->second.world_size; ++rank) known.insert(rank);
  std::unordered_map<std::string, int64_t> kinds;
  for (const auto& [rank, dump] : dumps_) {
    for (const auto& [key, channel] : dump.channels) {
      known.insert(channel.ranks.begin(), channel.ranks.end());
      Lane& lane = lanes_[key];
      lane.channel = &channel;
    }
    for (const Operation& operation : dump.operations) {
      const Lane& lane = lanes_.at(operation.channel);
      const auto number = static_cast<int64_t>(kinds.size());
      kinds_[&operation] = kinds.try_emplace(text_of_kind(operation, *lane.channel), number).first->second;
      lanes_.at(operation.channel).tracks[rank].operations.push_back(&operation);
    }
  }
  // A rank that has not begun anything in a channel of its own is behind there too.
  for (auto& [key, lane] : lanes_) {
    for (const int64_t rank : lane.channel->ranks) {
      if (left_dump(rank)) lane.tracks[rank];
    }
  }
  for (const int64_t rank : known) {
    if (!left_dump(rank)) silent_.push_back(rank);
  }
}

const Operation* RanksTogether::waits_in(int64_t rank) const {
  const Operation* waits = nullptr;
  for (const Operation& operation : dumps_.at(rank).operations) {
    if (operation.waiting_ns == 0 || operation.done_ns != 0) continue;
    if (waits == nullptr || operation.waiting_ns < waits->waiting_ns) waits = &operation;
  }
  return waits;
}

Stream RanksTogether::stream_of(int64_t rank) const {
  Stream stream;
  for (const Operation& operation : dumps_.at(rank).operations) stream.push_back(kind_of(operation));
  return stream;
}

const Operation* RanksTogether::expected_next(int64_t rank) const {
  const std::optional<int64_t> kind = trace::expected_next(stream_of(rank));
  if (!kind.has_value()) return nullptr;
  for (const Operation& operation : dumps_.at(rank).operations) {
    if (kind_of(operation) == *kind) return &operation;
  }
  return nullptr;
}

}  // namespace titan::trace
