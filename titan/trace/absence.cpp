#include "titan/trace/absence.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <span>

namespace titan::trace {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

std::string named(const std::vector<int64_t>& ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "));
}

std::string in_seconds(int64_t ns) {
  const double seconds = static_cast<double>(ns) / static_cast<double>(kSecond);
  return seconds < 10 ? fmt::format("{:.1f} s", seconds) : fmt::format("{:.0f} s", seconds);
}

class WaitingRanks {
 public:
  explicit WaitingRanks(const RanksTogether& together) : together_(together) {
    for (const auto& [rank, dump] : together.dumps()) {
      const Operation* const operation = together.waits_in(rank);
      if (operation == nullptr) continue;
      // Dumps that somebody asked for catch ranks in the middle of good work.
      if (dump.reason == "asked" && dump.time_ns - operation->waiting_ns < kSecond) continue;
      waits_in_[rank] = operation;
      for (const int64_t other : absent_from(*operation)) waits_for_[rank].insert(other);
    }
  }

  std::optional<Verdict> judge() const {
    if (waits_in_.empty()) return std::nullopt;
    if (waits_for_.empty()) return unfinished();
    // 1. Where arrows end.
    int64_t cause = -1;
    size_t most = 0;
    for (const int64_t rank : everybody_waited_for()) {
      if (waits_for_.contains(rank)) continue;
      const size_t num = waiting_for(rank).size();
      if (num <= most) continue;
      most = num;
      cause = rank;
    }
    if (cause >= 0) return absence_of(cause);
    // 2. Nowhere: in a circle.
    return each_other();
  }

 private:
  // Ranks that have not begun it, or of whom nothing is known.
  std::vector<int64_t> absent_from(const Operation& operation) const {
    const Lane& lane = together_.lane_of(operation);
    std::vector<int64_t> absent = lane.behind(operation.sequence);
    // All who left a dump are there: those who did not are to blame, whether they came or not.
    if (absent.empty()) {
      for (const int64_t rank : lane.channel->ranks) {
        if (!together_.left_dump(rank)) absent.push_back(rank);
      }
    }
    return absent;
  }

  std::set<int64_t> everybody_waited_for() const {
    std::set<int64_t> all;
    for (const auto& [rank, others] : waits_for_) all.insert(others.begin(), others.end());
    return all;
  }

  // Directly, and through others.
  std::set<int64_t> waiting_for(int64_t cause) const {
    std::set<int64_t> found{cause};
    for (bool grows = true; grows;) {
      grows = false;
      for (const auto& [rank, others] : waits_for_) {
        const bool waits =
            std::any_of(others.begin(), others.end(), [&](int64_t other) { return found.contains(other); });
        grows |= waits && found.insert(rank).second;
      }
    }
    found.erase(cause);
    return found;
  }

  // What `rank` has not begun though others have, of each channel the first, in the order of time.
  std::vector<const Operation*> missed_by(int64_t rank) const {
    std::vector<const Operation*> missed;
    for (const auto& [key, lane] : together_.lanes()) {
      const auto& ranks = lane.channel->ranks;
      if (!std::binary_search(ranks.begin(), ranks.end(), rank)) continue;
      const Operation* first = nullptr;
      for (const auto& [other, track] : lane.tracks) {
        if (other == rank) continue;
        for (const Operation* operation : track.operations) {
          const bool has_begun =
              together_.left_dump(rank) ? lane.tracks.at(rank).last() >= operation->sequence : operation->done_ns != 0;
          if (has_begun) continue;
          const bool earlier = first == nullptr || operation->sequence < first->sequence ||
                               (operation->sequence == first->sequence && operation->enqueued_ns < first->enqueued_ns);
          if (earlier) first = operation;
          break;
        }
      }
      if (first != nullptr) missed.push_back(first);
    }
    // Who blocked first was the nearest to what happened.
    std::sort(missed.begin(), missed.end(), [](const Operation* a, const Operation* b) {
      const bool a_waits = a->waiting_ns != 0, b_waits = b->waiting_ns != 0;
      if (a_waits != b_waits) return a_waits;
      return a_waits ? a->waiting_ns < b->waiting_ns : a->enqueued_ns < b->enqueued_ns;
    });
    return missed;
  }

  // Whether some rank that does the like, in groups of the same names, began `a` before `b`. Of messages there is no
  // telling: the two ends of a way do different things.
  bool is_begun_before(const Operation& a, const Operation& b) const {
    if (together_.lane_of(a).channel->is_messages || together_.lane_of(b).channel->is_messages) return false;
    const auto is_twin = [&](const Operation& x, const Operation& of) {
      return x.sequence == of.sequence && x.name == of.name && x.module == of.module &&
             together_.lane_of(x).channel->name == together_.lane_of(of).channel->name;
    };
    return std::any_of(together_.dumps().begin(), together_.dumps().end(), [&](const auto& entry) {
      const std::vector<Operation>& operations = entry.second.operations;
      const auto first = std::find_if(operations.begin(), operations.end(),
                                      [&](const Operation& x) { return is_twin(x, a) || is_twin(x, b); });
      if (first == operations.end() || !is_twin(*first, a)) return false;
      return std::any_of(std::next(first), operations.end(), [&](const Operation& x) { return is_twin(x, b); });
    });
  }

  // The one that the rank was about to begin: of those it missed, the one that followed on its last operations before;
  // else the one that others, who do the like, begin first; else the first that others block on.
  const Operation* next_of(int64_t rank, const std::vector<const Operation*>& missed) const {
    const Operation* const expected = together_.left_dump(rank) ? together_.expected_next(rank) : nullptr;
    if (expected != nullptr) {
      for (const Operation* operation : missed) {
        if (together_.kind_of(*operation) == together_.kind_of(*expected)) return operation;
      }
      for (const Operation* operation : missed) {
        if (operation->channel == expected->channel) return operation;
      }
    }
    for (const Operation* operation : missed) {
      const auto is_earlier = [&](const Operation* other) { return is_begun_before(*other, *operation); };
      if (std::none_of(missed.begin(), missed.end(), is_earlier)) return operation;
    }
    return missed.front();
  }

  Verdict absence_of(int64_t cause) const {
    const std::vector<const Operation*> missed = missed_by(cause);
    TORCH_INTERNAL_ASSERT(!missed.empty(), "rank ", cause, " is waited for, but missed nothing");
    const Operation& operation = *next_of(cause, missed);
    const Lane& lane = together_.lane_of(operation);
    Verdict verdict{.ranks = {cause}, .place = place_of(operation, *lane.channel)};
    // What others wait in is the message's other end.
    if (lane.channel->is_messages) verdict.place.operation = operation.name == "send" ? "receive" : "send";
    for (const int64_t rank : waiting_for(cause)) verdict.waiting.push_back(rank);
    // Others that are missing from the same operation, and wait for nobody either.
    for (const int64_t other : absent_from(operation)) {
      if (other != cause && !waits_for_.contains(other) && together_.left_dump(other) == together_.left_dump(cause)) {
        verdict.ranks.push_back(other);
      }
    }
    std::sort(verdict.ranks.begin(), verdict.ranks.end());
    const bool plural = verdict.ranks.size() > 1;
    if (together_.left_dump(cause)) {
      verdict.kind = Kind::kNeverCame;
      verdict.text =
          fmt::format("{} never reached {}: {}", named(verdict.ranks), to_text(verdict.place), last_of(cause, lane));
    } else {
      verdict.kind = Kind::kDied;
      verdict.text = fmt::format("{} left no dump, so {} died or {} stopped; {} not come to the end of {}",
                                 named(verdict.ranks), plural ? "they" : "it", plural ? "are" : "is",
                                 plural ? "they have" : "it has", to_text(verdict.place));
    }
    if (!verdict.waiting.empty()) {
      verdict.text += fmt::format("; {} wait{}", named(verdict.waiting), verdict.waiting.size() == 1 ? "s" : "");
    }
    return verdict;
  }

  // "its last was 811, done 41 s ago".
  std::string last_of(int64_t rank, const Lane& lane) const {
    const Track& track = lane.tracks.at(rank);
    if (track.operations.empty()) return "it has begun none there";
    const Operation& last = *track.operations.back();
    if (last.done_ns == 0) return fmt::format("its last was {}, which is not over", last.sequence);
    return fmt::format("its last was {}, done {} ago", last.sequence,
                       in_seconds(together_.dumps().at(rank).time_ns - last.done_ns));
  }

  Verdict unfinished() const {
    const Operation* first = nullptr;
    for (const auto& [rank, operation] : waits_in_) {
      if (first == nullptr || operation->waiting_ns < first->waiting_ns) first = operation;
    }
    const Lane& lane = together_.lane_of(*first);
    Verdict verdict{.kind = Kind::kUnfinished, .ranks = lane.channel->ranks, .place = place_of(*first, *lane.channel)};
    for (const auto& [rank, operation] : waits_in_) verdict.waiting.push_back(rank);
    verdict.text =
        fmt::format("all of {} have begun {}, alike, and it is not over: look at the connection between them",
                    named(verdict.ranks), to_text(verdict.place));
    return verdict;
  }

  // What was due where the rank departed from what it did before: one like an earlier operation, the next of its
  // channel.
  Place due_at(int64_t rank, const Departure& departure) const {
    const auto before = std::span(together_.dumps().at(rank).operations).first(departure.place);
    const auto like = std::find_if(before.rbegin(), before.rend(), [&](const Operation& operation) {
      return together_.kind_of(operation) == departure.expected;
    });
    const auto last = std::find_if(before.rbegin(), before.rend(),
                                   [&](const Operation& operation) { return operation.channel == like->channel; });
    Place due = place_of(*like, *together_.lane_of(*like).channel);
    due.sequence = last->sequence + 1;
    return due;
  }

  // A circle of ranks, and in it whoever departed last from what it did in earlier steps.
  Verdict each_other() const {
    std::vector<int64_t> circle;
    for (int64_t rank = waits_for_.begin()->first; std::find(circle.begin(), circle.end(), rank) == circle.end();
         rank = *waits_for_.at(rank).begin()) {
      circle.push_back(rank);
      if (circle.size() > waits_for_.size()) break;
    }
    const int64_t back = *waits_for_.at(circle.back()).begin();
    circle.erase(circle.begin(), std::find(circle.begin(), circle.end(), back));

    const Operation* departed = nullptr;
    Place due;
    int64_t suspect = -1;
    for (const auto& [rank, operation] : waits_in_) {
      const std::optional<Departure> departure = last_departure(together_.stream_of(rank));
      if (!departure.has_value()) continue;
      const Operation& there = together_.dumps().at(rank).operations[departure->place];
      if (departed != nullptr && there.enqueued_ns <= departed->enqueued_ns) continue;
      departed = &there;
      due = due_at(rank, *departure);
      suspect = rank;
    }
    Verdict verdict{.kind = Kind::kEachOther, .ranks = circle};
    for (const auto& [rank, operation] : waits_in_) verdict.waiting.push_back(rank);
    std::string waits;
    for (const int64_t rank : circle) {
      const Operation& operation = *waits_in_.at(rank);
      waits += fmt::format("{}rank {} in {} for {}", waits.empty() ? "" : ", ", rank,
                           to_text(place_of(operation, *together_.lane_of(operation).channel)),
                           named({waits_for_.at(rank).begin(), waits_for_.at(rank).end()}));
    }
    verdict.text = fmt::format("{} wait for each other: {}", named(circle), waits);
    const Operation& first = *waits_in_.at(circle.front());
    verdict.place = place_of(first, *together_.lane_of(first).channel);
    if (departed != nullptr) {
      verdict.place = due;
      verdict.ranks = {suspect};
      verdict.text +=
          fmt::format("; rank {} departed from its earlier steps when it called {} where {} was due", suspect,
                      to_text(place_of(*departed, *together_.lane_of(*departed).channel)), to_text(due));
    }
    std::sort(verdict.ranks.begin(), verdict.ranks.end());
    return verdict;
  }

  const RanksTogether& together_;
  std::map<int64_t, const Operation*> waits_in_;    // by rank
  std::map<int64_t, std::set<int64_t>> waits_for_;  // by rank, of those that somebody is missing for
};

}  // namespace

std::optional<Verdict> find_absence(const RanksTogether& ranks) { return WaitingRanks(ranks).judge(); }

}  // namespace titan::trace
