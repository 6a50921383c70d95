#include "titan/trace/mismatch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace titan::trace {
namespace {

// One number of a channel, at which ranks do different things.
struct Meeting {
  const Lane* lane;
  int64_t sequence = 0;
  std::map<int64_t, std::vector<int64_t>> ranks_by_kind;
  int64_t time_ns = 0;  // of the first rank there
};

std::optional<Meeting> first_mismatch(const Lane& lane, const RanksTogether& together) {
  // The numbers that two ranks at least still know.
  int64_t first = -1, last = -1;
  for (const auto& [rank, track] : lane.tracks) {
    if (track.operations.empty()) continue;
    first = first < 0 ? track.first() : std::min(first, track.first());
    last = std::max(last, track.last());
  }
  for (int64_t sequence = first; first >= 0 && sequence <= last; ++sequence) {
    Meeting meeting{&lane, sequence};
    for (const auto& [rank, track] : lane.tracks) {
      const Operation* const operation = track.find(sequence);
      if (operation == nullptr) continue;
      meeting.ranks_by_kind[together.kind_of(*operation)].push_back(rank);
      if (meeting.time_ns == 0 || operation->enqueued_ns < meeting.time_ns) meeting.time_ns = operation->enqueued_ns;
    }
    if (meeting.ranks_by_kind.size() > 1) return meeting;
  }
  return std::nullopt;
}

// What all ranks did in the channel before the meeting, as far back as they agree and remember.
Stream past_of(const Meeting& meeting, const RanksTogether& together) {
  const Track* longest = nullptr;
  for (const auto& [rank, track] : meeting.lane->tracks) {
    if (!track.operations.empty() && (longest == nullptr || track.first() < longest->first())) longest = &track;
  }
  Stream past;
  for (const Operation* operation : longest->operations) {
    if (operation->sequence < meeting.sequence) past.push_back(together.kind_of(*operation));
  }
  return past;
}

// The kind that is right: what most ranks did; else what came at this point before. Nothing: there is no telling.
std::optional<int64_t> right_kind(const Meeting& meeting, const std::optional<int64_t>& expected) {
  size_t most = 0;
  std::optional<int64_t> right;
  for (const auto& [kind, ranks] : meeting.ranks_by_kind) {
    if (ranks.size() == most) right.reset();
    if (ranks.size() <= most) continue;
    most = ranks.size();
    right = kind;
  }
  if (right.has_value()) return right;
  if (expected.has_value() && meeting.ranks_by_kind.contains(*expected)) return expected;
  return std::nullopt;
}

std::string shapes_of(const Operation& operation) {
  const auto text = [](const Shape& shape) {
    return fmt::format("{} [{}]", shape.dtype, fmt::join(shape.sizes, ", "));
  };
  if (operation.input.dtype.empty() || operation.input == operation.output) return text(operation.output);
  return fmt::format("{} to {}", text(operation.input), text(operation.output));
}

std::string full_text(const Operation& operation) {
  return fmt::format("{} of {}{}", operation.name, shapes_of(operation),
                     operation.module.empty() ? "" : fmt::format(" ({})", operation.module));
}

std::string named(const std::vector<int64_t>& ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "));
}

Verdict explain(const Meeting& meeting, const RanksTogether& together) {
  const Stream past = past_of(meeting, together);
  const std::optional<int64_t> right = right_kind(meeting, expected_next(past));
  const auto operation_of = [&](int64_t rank, int64_t sequence) {
    return meeting.lane->tracks.at(rank).find(sequence);
  };

  Verdict verdict;
  if (!right.has_value()) {  // two sides, and nothing to tell them apart
    std::string sides;
    for (const auto& [kind, ranks] : meeting.ranks_by_kind) {
      verdict.ranks.insert(verdict.ranks.end(), ranks.begin(), ranks.end());
      sides += fmt::format("{}{} came with {}", sides.empty() ? "" : ", ", named(ranks),
                           full_text(*operation_of(ranks.front(), meeting.sequence)));
    }
    std::sort(verdict.ranks.begin(), verdict.ranks.end());
    verdict.kind = Kind::kOther;
    verdict.place = place_of(*operation_of(verdict.ranks.front(), meeting.sequence), *meeting.lane->channel);
    verdict.text = fmt::format("number {} on {} is not the same operation everywhere: {}", meeting.sequence,
                               verdict.place.group, sides);
    return verdict;
  }

  const std::vector<int64_t>& others = meeting.ranks_by_kind.at(*right);
  const Operation& due = *operation_of(others.front(), meeting.sequence);
  for (const auto& [kind, ranks] : meeting.ranks_by_kind) {
    if (kind != *right) verdict.ranks.insert(verdict.ranks.end(), ranks.begin(), ranks.end());
  }
  std::sort(verdict.ranks.begin(), verdict.ranks.end());
  verdict.place = place_of(due, *meeting.lane->channel);
  const int64_t culprit = verdict.ranks.front();
  const Operation& came = *operation_of(culprit, meeting.sequence);

  // What comes after the operation that was due: seen on another rank, or expected.
  std::optional<int64_t> after;
  const Operation* const next_of_others = operation_of(others.front(), meeting.sequence + 1);
  if (next_of_others != nullptr) {
    after = together.kind_of(*next_of_others);
  } else {
    Stream with_due = past;
    with_due.push_back(*right);
    after = expected_next(with_due);
  }
  const Operation* const next_of_culprit = operation_of(culprit, meeting.sequence + 1);
  const bool came_with_next = after == together.kind_of(came);
  const bool due_came_later = next_of_culprit != nullptr && together.kind_of(*next_of_culprit) == *right;
  const bool same_call = meeting.lane->channel->is_messages || (came.name == due.name && came.module == due.module);

  const std::string ranks = named(verdict.ranks), place = to_text(verdict.place);
  if (came_with_next && due_came_later) {
    verdict.kind = Kind::kOrder;
    verdict.text = fmt::format("{} called {} before {}; {} called them in the other order", ranks, full_text(came),
                               place, named(others));
  } else if (came_with_next) {
    verdict.kind = Kind::kLeftOut;
    verdict.text = fmt::format("{} left out {}: in its place came {}, which {} were to call after it", ranks, place,
                               full_text(came), named(others));
  } else if (same_call) {
    verdict.kind = Kind::kShape;
    verdict.text =
        fmt::format("{} came to {} with {}, {} with {}", ranks, place, shapes_of(came), named(others), shapes_of(due));
  } else {
    verdict.kind = Kind::kOther;
    verdict.text = fmt::format("{} called {} where {} called {}, as {}", ranks, full_text(came), named(others),
                               full_text(due), place);
  }
  return verdict;
}

}  // namespace

std::vector<Verdict> find_mismatches(const RanksTogether& ranks) {
  std::vector<Meeting> meetings;
  for (const auto& [key, lane] : ranks.lanes()) {
    if (auto meeting = first_mismatch(lane, ranks)) meetings.push_back(std::move(*meeting));
  }
  std::sort(meetings.begin(), meetings.end(), [](const Meeting& a, const Meeting& b) { return a.time_ns < b.time_ns; });
  std::vector<Verdict> verdicts;
  for (const Meeting& meeting : meetings) verdicts.push_back(explain(meeting, ranks));
  return verdicts;
}

}  // namespace titan::trace
