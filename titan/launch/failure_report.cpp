#include "titan/launch/failure_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <tuple>

namespace titan::launch {
namespace {

// What distributed::World, and below it Gloo, NCCL, c10d's store and sockets say when another rank has gone or does not
// come.
bool is_absence_of_another(std::string_view error) {
  constexpr std::array<std::string_view, 12> kSigns{
      " waited for ", " did not come ", "stopped or gone", "closed by peer", "reset by peer",  "Connection refused",
      "Broken pipe",  "imed out",       "imeout",          "Socket closed",  "failed to recv", "sendBytes"};
  return std::any_of(kSigns.begin(), kSigns.end(),
                     [&](std::string_view sign) { return error.find(sign) != std::string_view::npos; });
}

bool failed_by_itself(const RankEnd& end) {
  if (!end.ending.failed()) return false;
  // A rank that was told to end may still say something of its own before it does.
  return !end.told_to_end || (end.ending.signal == 0 && !end.first_error.empty());
}

std::string how_it_ended(const RankEnd& end) {
  const std::string how = end.ending.signal != 0 ? "killed by " + signal_name(end.ending.signal)
                                                 : "exit code " + std::to_string(end.ending.exit_code);
  return end.first_error.empty() ? how + ", without an error message" : how + ": " + end.first_error;
}

std::string named(const std::vector<int64_t>& ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "));
}

}  // namespace

std::vector<RankEnd> failed_by_themselves(std::vector<RankEnd> ends) {
  std::erase_if(ends, [](const RankEnd& end) { return !failed_by_itself(end); });
  std::sort(ends.begin(), ends.end(), [](const RankEnd& a, const RankEnd& b) {
    const auto key = [](const RankEnd& end) {
      return std::tuple(end.told_to_end, end.ending.signal == 0 && is_absence_of_another(end.first_error), end.order);
    };
    return key(a) < key(b);
  });
  return ends;
}

std::vector<std::string> failure_lines(const std::vector<RankEnd>& ends) {
  std::vector<std::string> lines;
  for (const RankEnd& end : ends) {
    if (end.stopped_by == 0) continue;
    lines.push_back(fmt::format("rank {} stood still, stopped by {}: the likely cause, the others waited for it",
                                end.rank, signal_name(end.stopped_by)));
  }
  const std::vector<RankEnd> failed = failed_by_themselves(ends);
  // Ranks that failed in the same way share a line.
  std::vector<std::pair<std::string, std::vector<int64_t>>> groups;
  for (const RankEnd& end : failed) {
    const std::string how = how_it_ended(end);
    auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& other) { return other.first == how; });
    if (group == groups.end()) group = groups.insert(groups.end(), {how, {}});
    group->second.push_back(end.rank);
  }
  const bool somebody_stood_still = !lines.empty();
  for (auto& [how, ranks] : groups) {
    const bool first = how == groups.front().first && groups.size() > 1 && !somebody_stood_still;
    std::sort(ranks.begin(), ranks.end());
    lines.push_back(fmt::format("{} failed{}: {}", named(ranks), first ? " first" : "", how));
  }
  std::vector<int64_t> ended;
  for (const RankEnd& end : ends) {
    if (end.told_to_end && end.stopped_by == 0 && !failed_by_itself(end)) ended.push_back(end.rank);
  }
  if (!ended.empty()) lines.push_back("ended " + named(ended));
  return lines;
}

int exit_code_of(const std::vector<RankEnd>& ends) {
  const std::vector<RankEnd> failed = failed_by_themselves(ends);
  if (failed.empty()) return 0;
  const int code = failed.front().ending.exit_code;
  return failed.front().ending.signal == 0 && code <= 123 ? code : 1;
}

}  // namespace titan::launch
