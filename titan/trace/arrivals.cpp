#include "titan/trace/arrivals.h"

#include <algorithm>

namespace titan::trace {
namespace {

// When each rank began the operation, in the order of time; empty unless all of them did.
std::vector<std::pair<int64_t, int64_t>> times_of(const Lane& lane, int64_t sequence) {
  std::vector<std::pair<int64_t, int64_t>> times;
  for (const auto& [rank, track] : lane.tracks) {
    const Operation* const operation = track.find(sequence);
    if (operation != nullptr) times.emplace_back(operation->enqueued_ns, rank);
  }
  if (times.size() != lane.channel->ranks.size()) times.clear();
  std::sort(times.begin(), times.end());
  return times;
}

}  // namespace

Arrivals find_arrivals(const RanksTogether& ranks, size_t num_slowest) {
  Arrivals arrivals;
  std::map<int64_t, Lateness> lateness;
  for (const auto& [key, lane] : ranks.lanes()) {
    if (lane.channel->is_messages || lane.tracks.empty()) continue;
    for (const Operation* operation : lane.tracks.begin()->second.operations) {
      const auto times = times_of(lane, operation->sequence);
      if (times.size() < 2) continue;
      ++arrivals.num_collectives;
      arrivals.slowest.push_back({.place = place_of(*operation, *lane.channel),
                                  .first_rank = times.front().second,
                                  .last_rank = times.back().second,
                                  .spread_ns = times.back().first - times.front().first});
      Lateness& last = lateness[times.back().second];
      last.rank = times.back().second;
      ++last.num_last;
      last.mean_ns += times.back().first - times[times.size() - 2].first;
    }
  }
  std::stable_sort(arrivals.slowest.begin(), arrivals.slowest.end(),
                   [](const Arrival& a, const Arrival& b) { return a.spread_ns > b.spread_ns; });
  arrivals.slowest.resize(std::min(arrivals.slowest.size(), num_slowest));
  for (auto& [rank, last] : lateness) {
    last.mean_ns /= last.num_last;
    arrivals.lateness.push_back(last);
  }
  std::stable_sort(arrivals.lateness.begin(), arrivals.lateness.end(),
                   [](const Lateness& a, const Lateness& b) { return a.num_last > b.num_last; });
  return arrivals;
}

}  // namespace titan::trace
