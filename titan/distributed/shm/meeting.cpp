#include "titan/distributed/shm/meeting.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <optional>
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace titan::distributed::shm {
namespace {

// Equal on two ranks if /proc/<pid>/fd of the one may mean the same to the other.
std::string host_identity() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  std::array<char, 64> process_ids{};
  if (readlink("/proc/self/ns/pid", process_ids.data(), process_ids.size() - 1) < 0) process_ids[0] = '\0';
  std::array<char, 256> host{};
  if (boot.empty()) gethostname(host.data(), host.size() - 1);
  return fmt::format("{}{}/{}/{}", boot, host.data(), process_ids.data(), getuid());
}

std::string first_line(const std::exception& error) {
  const auto* const torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string text = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

// What each rank writes for the others: the address of its segment, or why it has none.
constexpr char kNone[] = "none: ";

std::string segment_key(int64_t rank) { return fmt::format("segment/{}", rank); }

struct Outcome {
  std::vector<Segment> segments;
  std::string why_not;
};

Outcome map_all(const BackendRequest& request) {
  Outcome outcome;
  const auto own_name = fmt::format("rank {}", request.ranks[static_cast<size_t>(request.rank)]);
  std::optional<Segment> own;
  std::string value;
  try {
    own = Segment::create(Links::segment_bytes(request.size));
    Links::write_head(*own);
    value = own->address().to_string();
  } catch (const std::exception& error) {
    value = kNone + own_name + ": " + first_line(error);
  }
  request.store->set(segment_key(request.rank), value);

  for (int64_t rank = 0; rank < request.size; ++rank) {
    const std::string theirs = request.store->get_to_str(segment_key(rank));
    if (theirs.starts_with(kNone)) {
      outcome.why_not = theirs.substr(sizeof(kNone) - 1);
      return outcome;
    }
    if (rank == request.rank) {
      outcome.segments.push_back(std::move(*own));
      continue;
    }
    try {
      outcome.segments.push_back(Segment::open(SegmentAddress::parse(theirs)));
    } catch (const std::exception& error) {
      // Goes on, so that all read all: nobody waits for who has given up.
      if (outcome.why_not.empty()) outcome.why_not = own_name + ": " + first_line(error);
    }
  }
  return outcome;
}

}  // namespace

bool on_one_host(const BackendRequest& request) {
  const std::string host = "host/" + host_identity();
  request.store->add(host, 1);
  if (request.store->add("num_present", 1) == request.size) {
    request.store->set("on_one_host", std::string(request.store->add(host, 0) == request.size ? "yes" : "no"));
  }
  return request.store->get_to_str("on_one_host") == "yes";
}

Meeting meet(const BackendRequest& request) {
  constexpr char kAll[] = "all";
  Outcome outcome = map_all(request);
  // The first reason stands; without one, the last rank says that all could.
  c10d::Store& store = *request.store;
  if (!outcome.why_not.empty()) store.compareSet("mapped", std::string(), outcome.why_not);
  if (store.add("num_mapped", 1) == request.size) store.compareSet("mapped", std::string(), std::string(kAll));
  const std::string verdict = store.get_to_str("mapped");
  if (verdict != kAll) return {nullptr, verdict};

  outcome.segments[static_cast<size_t>(request.rank)].close_descriptor();
  return {std::make_unique<Links>(std::move(outcome.segments), request.rank, request.ranks), ""};
}

}  // namespace titan::distributed::shm
