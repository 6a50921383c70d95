#include "titan/trace/verdict.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "titan/trace/absence.h"
#include "titan/trace/mismatch.h"

namespace titan::trace {
namespace {

std::vector<Verdict> find_failures(const RanksTogether& ranks) {
  std::vector<Verdict> verdicts;
  for (const auto& [rank, dump] : ranks.dumps()) {
    if (dump.reason != "exception") continue;
    Verdict verdict{.kind = Kind::kFailed, .ranks = {rank}};
    verdict.text = fmt::format("rank {} failed by itself; its own output says why", rank);
    if (!dump.operations.empty()) {
      const Operation& last = dump.operations.back();
      verdict.place = place_of(last, *ranks.lane_of(last).channel);
      verdict.text += fmt::format(". The last that it called was {}", to_text(verdict.place));
    }
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

}  // namespace

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kNothing:
      return "nothing";
    case Kind::kFailed:
      return "failed";
    case Kind::kShape:
      return "shape";
    case Kind::kLeftOut:
      return "left out";
    case Kind::kOrder:
      return "order";
    case Kind::kOther:
      return "other operation";
    case Kind::kDied:
      return "died";
    case Kind::kNeverCame:
      return "never came";
    case Kind::kEachOther:
      return "each other";
    case Kind::kUnfinished:
      return "unfinished";
  }
  return "?";
}

Place place_of(const Operation& operation, const Channel& channel) {
  return {.operation = operation.name,
          .sequence = operation.sequence,
          .channel = channel.key,
          .group = channel.name,
          .module = channel.is_messages ? "" : operation.module};
}

std::string to_text(const Place& place) {
  return fmt::format("{} {} on {}{}", place.operation, place.sequence, place.group,
                     place.module.empty() ? "" : fmt::format(" ({})", place.module));
}

std::vector<Verdict> judge(const RanksTogether& ranks) {
  std::vector<Verdict> verdicts = find_failures(ranks);
  for (Verdict& verdict : find_mismatches(ranks)) verdicts.push_back(std::move(verdict));
  if (auto absence = find_absence(ranks)) verdicts.push_back(std::move(*absence));
  if (verdicts.empty()) {
    verdicts.push_back({.text = "no rank waits for another: what their dumps show is work in progress"});
  }
  return verdicts;
}

}  // namespace titan::trace
