#include "titan/trace/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "titan/trace/arrivals.h"
#include "titan/trace/verdict.h"

namespace titan::trace {
namespace {

using Json = nlohmann::ordered_json;

double milliseconds(int64_t ns) { return static_cast<double>(ns) / 1e6; }

// Why there is a dump, as distributed/recorder/dump.h names it.
std::string in_words(const std::string& reason) {
  if (reason == "asked") return "asked for by SIGUSR1";
  if (reason == "slow") return "half of an operation's timeout was over";
  if (reason == "operation") return "an operation of its own failed";
  if (reason == "exception") return "it failed by itself";
  if (reason == "elsewhere") return "another rank failed";
  return reason;
}

std::string state_of(int64_t rank, const RanksTogether& ranks) {
  const Dump& dump = ranks.dumps().at(rank);
  if (const Operation* const operation = ranks.waits_in(rank)) {
    return fmt::format("waits in {} for {:.1f} s", to_text(place_of(*operation, *ranks.lane_of(*operation).channel)),
                       milliseconds(dump.time_ns - operation->waiting_ns) / 1000);
  }
  if (dump.operations.empty()) return "has begun nothing";
  const Operation& last = dump.operations.back();
  const std::string place = to_text(place_of(last, *ranks.lane_of(last).channel));
  if (last.done_ns == 0) return fmt::format("computes; its last is {}, under way", place);
  return fmt::format("computes; its last was {}, done {:.1f} s before", place,
                     milliseconds(dump.time_ns - last.done_ns) / 1000);
}

}  // namespace

std::string to_text(const RanksTogether& ranks) {
  std::string text;
  auto out = std::back_inserter(text);
  const std::vector<Verdict> verdicts = judge(ranks);
  fmt::format_to(out, "{}\n", verdicts.front().text);
  for (size_t i = 1; i < verdicts.size(); ++i) {
    fmt::format_to(out, "{}{}\n", i == 1 ? "then, perhaps because of it: " : "                              ",
                   verdicts[i].text);
  }
  fmt::format_to(out, "\n");
  for (const auto& [rank, dump] : ranks.dumps()) {
    fmt::format_to(out, "rank {} ({}, {} operations): {}\n", rank, in_words(dump.reason), dump.operations.size(),
                   state_of(rank, ranks));
  }
  for (const int64_t rank : ranks.silent()) fmt::format_to(out, "rank {}: no dump\n", rank);

  const Arrivals arrivals = find_arrivals(ranks);
  if (arrivals.num_collectives == 0) return text;
  fmt::format_to(out, "\nOf {} collectives that all of a group came to, the slowest arrivals:\n",
                 arrivals.num_collectives);
  for (const Arrival& arrival : arrivals.slowest) {
    fmt::format_to(out, "  {:9.1f} ms  rank {} after rank {}: {}\n", milliseconds(arrival.spread_ns), arrival.last_rank,
                   arrival.first_rank, to_text(arrival.place));
  }
  for (const Lateness& last : arrivals.lateness) {
    fmt::format_to(out, "rank {} was the last of {} ({:.0f}%), on average {:.2f} ms after the one before it\n",
                   last.rank, last.num_last,
                   100.0 * static_cast<double>(last.num_last) / static_cast<double>(arrivals.num_collectives),
                   milliseconds(last.mean_ns));
  }
  return text;
}

std::string to_json(const RanksTogether& ranks) {
  const auto place_json = [](const Place& place) {
    return Json{
        {"operation", place.operation}, {"sequence", place.sequence}, {"group", place.group}, {"module", place.module}};
  };
  Json root{{"verdicts", Json::array()}, {"ranks", Json::array()}};
  for (const Verdict& verdict : judge(ranks)) {
    Json json{{"kind", name_of(verdict.kind)}, {"ranks", verdict.ranks}};
    json.update(place_json(verdict.place));
    json["waiting"] = verdict.waiting;
    json["text"] = verdict.text;
    root["verdicts"].push_back(std::move(json));
  }
  for (const auto& [rank, dump] : ranks.dumps()) {
    root["ranks"].push_back({{"rank", rank},
                             {"host", dump.host},
                             {"reason", dump.reason},
                             {"message", dump.message},
                             {"num_operations", dump.operations.size()},
                             {"state", state_of(rank, ranks)}});
  }
  for (const int64_t rank : ranks.silent()) root["ranks"].push_back({{"rank", rank}, {"reason", "no dump"}});
  const Arrivals arrivals = find_arrivals(ranks);
  Json slowest = Json::array(), lateness = Json::array();
  for (const Arrival& arrival : arrivals.slowest) {
    Json json = place_json(arrival.place);
    json["first_rank"] = arrival.first_rank;
    json["last_rank"] = arrival.last_rank;
    json["spread_ms"] = milliseconds(arrival.spread_ns);
    slowest.push_back(std::move(json));
  }
  for (const Lateness& last : arrivals.lateness) {
    lateness.push_back({{"rank", last.rank}, {"num_last", last.num_last}, {"mean_ms", milliseconds(last.mean_ns)}});
  }
  root["arrivals"] = {{"num_collectives", arrivals.num_collectives}, {"slowest", slowest}, {"lateness", lateness}};
  return root.dump() + "\n";
}

}  // namespace titan::trace
