#include "titan/distributed/recorder/watchdog.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "titan/distributed/process_group.h"
#include "titan/distributed/recorder/dump_signal.h"
#include "titan/logging/logger.h"

namespace titan::distributed::recorder {
namespace {

using std::chrono::milliseconds;

// The number behind `name` and `sign` in positions; nothing if it is not there.
std::optional<int64_t> find_number(const std::string& positions, const std::string& name, char sign) {
  const std::string start = name + sign;
  size_t at = positions.find(start);
  while (at != std::string::npos && at > 0 && positions[at - 1] != ';') at = positions.find(start, at + 1);
  if (at == std::string::npos) return std::nullopt;
  int64_t number = 0;
  const char* const begin = positions.data() + at + start.size();
  const auto [end, error] = std::from_chars(begin, positions.data() + positions.size(), number);
  return error == std::errc() ? std::optional(number) : std::nullopt;
}

// The first word where it has no '=': what the rank waits in.
std::optional<std::string> waits_in(const std::string& positions) {
  const std::string first = positions.substr(0, positions.find(';'));
  if (first.empty() || first.find('=') != std::string::npos) return std::nullopt;
  return first;
}

std::string name_of_operation(const Record& record) {
  return fmt::format("{} {} on {}{}", record.operation, record.sequence, record.channel->name,
                     record.module != nullptr ? fmt::format(" ({})", *record.module) : "");
}

}  // namespace

// What outlives the watchdog where the heartbeat's thread hangs in the store.
struct Watchdog::Shared {
  // Constant.
  std::shared_ptr<FlightRecorder> recorder;
  std::filesystem::path dump_path;
  int64_t rank = 0, world_size = 1;

  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  bool stopping = false;
  std::optional<std::pair<Heartbeat::News, std::string>> news;
  std::string last_said;  // by this rank, as news

  std::mutex writing;  // guards the file, and what follows
  Reason strongest = Reason::kAsked;

  void dump(Reason reason, const std::string& message) {
    const std::scoped_lock lock(writing);
    if (dump_path.empty() || (reason < strongest && reason != Reason::kAsked)) return;
    try {
      recorder->look_for_ends();
      write_dump(*recorder, {rank, world_size, reason, message}, dump_path);
    } catch (const std::exception& error) {
      const auto* const ours = dynamic_cast<const c10::Error*>(&error);
      logging::warning("flight recorder: {}", ours != nullptr ? ours->what_without_backtrace() : error.what());
      return;
    }
    const bool is_news = strongest == Reason::kAsked;
    strongest = std::max(strongest, reason);
    if (!is_news) return;  // newer, or for a stronger reason
    logging::warning("flight recorder: wrote {}; `titan trace {}` says what happened", dump_path.string(),
                     dump_path.parent_path().string());
  }
};

Watchdog::Watchdog(std::shared_ptr<FlightRecorder> recorder, std::shared_ptr<Heartbeat> heartbeat, int64_t rank,
                   int64_t world_size, WatchdogOptions options)
    : shared_(std::make_shared<Shared>()), heartbeat_(std::move(heartbeat)), interval_(options.interval) {
  shared_->recorder = std::move(recorder);
  shared_->dump_path = std::move(options.dump_path);
  shared_->rank = rank;
  shared_->world_size = world_size;
  if (!shared_->dump_path.empty()) catch_dump_signal();
  if (heartbeat_ != nullptr) {
    heartbeat_->carry([recorder = shared_->recorder] { return positions_of(*recorder); });
    heartbeat_->on_news([shared = shared_](Heartbeat::News news, const std::string& text) {
      const std::scoped_lock lock(shared->mutex);
      shared->news = {news, text};
      shared->changed.notify_all();
    });
  }
  last_words_ = std::make_unique<LastWords>(
      [shared = shared_](const std::string& reason) { shared->dump(Reason::kOperation, reason); });
  signals_seen_ = num_dump_signals();
  thread_ = std::thread([this] { run(); });
}

Watchdog::~Watchdog() {
  {
    const std::scoped_lock lock(shared_->mutex);
    shared_->stopping = true;
    shared_->changed.notify_all();
  }
  thread_.join();
}

void Watchdog::dump(Reason reason, const std::string& message) { shared_->dump(reason, message); }

void Watchdog::run() {
  while (true) {
    std::optional<std::pair<Heartbeat::News, std::string>> news;
    std::string last_said;
    {
      std::unique_lock lock(shared_->mutex);
      shared_->changed.wait_for(lock, interval_, [&] { return shared_->stopping || shared_->news; });
      if (shared_->stopping) return;
      news = std::exchange(shared_->news, std::nullopt);
      last_said = shared_->last_said;
    }
    shared_->recorder->look_for_ends();
    const int64_t signals = num_dump_signals();
    if (std::exchange(signals_seen_, signals) != signals) dump(Reason::kAsked, "");
    if (news.has_value()) {
      const auto& [kind, text] = *news;
      // One rank's output is what people see; it says what another found out.
      if (kind == Heartbeat::News::kSlow && shared_->rank == 0 && text != last_said) logging::warning("{}", text);
      dump(kind == Heartbeat::News::kSlow ? Reason::kSlow : Reason::kElsewhere, text);
    }
    look_for_slow_operations();
  }
}

void Watchdog::look_for_slow_operations() {
  const int64_t now = nanoseconds_since_1970();
  const std::vector<Record> open = shared_->recorder->open();
  const auto age_of = [&](const Record& record) {
    return std::chrono::duration_cast<milliseconds>(std::chrono::nanoseconds(now - record.enqueued_ns));
  };
  const Record* slow = nullptr;
  for (const Record& record : open) {
    if (record.id == announced_) return;  // what is slow behind it may be so because of it
    if (record.timeout.count() == 0 || age_of(record) < record.timeout / 2) continue;
    // What the program waits for stands before what it only began.
    if (slow == nullptr || (slow->waiting_ns == 0 && record.waiting_ns != 0)) slow = &record;
  }
  if (slow == nullptr) return;
  announced_ = slow->id;
  announce(*slow, age_of(*slow));
}

void Watchdog::announce(const Record& record, milliseconds age) {
  const auto peers =
      heartbeat_ != nullptr ? heartbeat_->look_at(record.channel->ranks) : std::map<int64_t, Heartbeat::Peer>{};
  const Standing standing = standing_of(record, shared_->rank, peers);
  // One of those that wait speaks for all of them.
  if (standing.waiting.front() != shared_->rank) return dump(Reason::kSlow, "");
  const std::string text =
      fmt::format("{} is not over after {:.0f} s, half of its timeout: {}", name_of_operation(record),
                  std::chrono::duration<double>(age).count(), standing.text);
  {
    const std::scoped_lock lock(shared_->mutex);
    shared_->last_said = text;
  }
  logging::warning("{}", text);
  dump(Reason::kSlow, text);
  if (heartbeat_ != nullptr) heartbeat_->tell(Heartbeat::News::kSlow, text);
}

std::string positions_of(const FlightRecorder& recorder) {
  std::string text;
  for (const Record& record : recorder.open()) {
    if (record.waiting_ns == 0) continue;
    text = fmt::format("{}:{}", record.channel->key, record.sequence);
    break;
  }
  for (const Channel& channel : recorder.channels()) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ";", channel.key, channel.last_begun);
  }
  return text;
}

Standing standing_of(const Record& record, int64_t rank, const std::map<int64_t, Heartbeat::Peer>& peers) {
  Standing standing;
  std::vector<std::string> parts;
  for (const int64_t other : record.channel->ranks) {
    const auto peer = peers.find(other);
    const auto last =
        peer == peers.end() ? std::nullopt : find_number(peer->second.positions, record.channel->key, '=');
    const bool is_silent = peer != peers.end() && peer->second.is_silent;
    const bool has_reached = other == rank || last.value_or(-1) >= record.sequence;
    if (has_reached && (other == rank || !is_silent)) {
      standing.waiting.push_back(other);
      continue;
    }
    const std::string its_last = last.value_or(-1) < 0 ? "" : fmt::format(", its last was {}", *last);
    if (peer == peers.end()) {
      parts.push_back(fmt::format("of rank {} nothing is known", other));
    } else if (is_silent) {
      parts.push_back(fmt::format("rank {} has not been heard of for {:.0f} s{}", other,
                                  std::chrono::duration<double>(peer->second.age).count(),
                                  has_reached ? " and has reached it" : its_last));
    } else if (peer->second.has_ended) {
      parts.push_back(fmt::format("rank {} has ended{}", other, its_last));
    } else {
      const bool waits = waits_in(peer->second.positions).has_value();
      parts.push_back(fmt::format("rank {} has not reached it{}{}", other, its_last,
                                  waits ? ", and it waits for others itself" : ""));
    }
  }
  if (parts.empty()) parts.emplace_back("all ranks have reached it");
  parts.push_back(fmt::format("{} wait{}", name_of_ranks(standing.waiting), standing.waiting.size() == 1 ? "s" : ""));
  for (const std::string& part : parts) standing.text += (standing.text.empty() ? "" : "; ") + part;
  return standing;
}

}  // namespace titan::distributed::recorder
