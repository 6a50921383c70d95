#include "titan/distributed/heartbeat.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "titan/distributed/process_group.h"

// A rank's key holds "<milliseconds it ran> <state> <positions> <operation>". The times of two ranks compare since all
// began to count together; clocks of machines need not agree. Under "verdict" stands the first reason that was found:
// those who ask when the store or its witnesses are gone already know it from their last beat. "news" counts what was
// written under "verdict", "failed" and "slow", so that a beat of a job that is well asks for one number only.

namespace titan::distributed {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr size_t kMostRanksAsked = 512;  // beyond, only those of the operation: the store must bear all survivors
// kWaited: in vain, and looks for the reason, which takes a store; kTold: the same, and has found it.
constexpr char kRunning[] = "running", kWaited[] = "waited", kTold[] = "told", kDone[] = "done", kFailed[] = "failed";

constexpr char kNoPositions[] = "-";

struct Report {
  milliseconds ran{0};
  std::string state = kRunning;
  std::string positions;
  std::string operation;
};

Report parse(const std::string& text) {
  Report report;
  const size_t first = text.find(' '), second = text.find(' ', first + 1), third = text.find(' ', second + 1);
  if (first == std::string::npos || second == std::string::npos || third == std::string::npos) return report;
  report.ran = milliseconds(std::stoll(text.substr(0, first)));
  report.state = text.substr(first + 1, second - first - 1);
  report.positions = text.substr(second + 1, third - second - 1);
  if (report.positions == kNoPositions) report.positions.clear();
  report.operation = text.substr(third + 1);
  return report;
}

std::string key_of(int64_t rank) { return fmt::format("heartbeat/{}", rank); }

std::string key_of(Heartbeat::News news) { return news == Heartbeat::News::kFailed ? "failed" : "slow"; }

std::string in_seconds(milliseconds time) { return fmt::format("{:.0f} s", static_cast<double>(time.count()) / 1000); }

}  // namespace

struct Heartbeat::Shared {
  // Constant.
  c10::intrusive_ptr<c10d::Store> store;  // of the thread
  int64_t rank = 0, world_size = 1;
  std::string store_host;
  HeartbeatOptions options;
  Clock::time_point start = Clock::now();

  // Guarded by `mutex`; `changed` tells both sides.
  std::mutex mutex;
  std::condition_variable changed;
  std::string state = kRunning, operation;
  std::function<void()> task;  // for the thread, since only it may touch the store
  bool stopping = false, ended = false;
  std::string verdict;  // the job's, once known
  Clock::time_point last_answer = Clock::now();
  std::function<std::string()> positions;
  std::function<void(News, const std::string&)> on_news;

  // The thread's own.
  int64_t news_read = 0;
  std::map<News, std::string> news_told;

  milliseconds ran() const { return std::chrono::duration_cast<milliseconds>(Clock::now() - start); }

  // Runs `work` on the thread, and waits until it is over or for `patience`; says whether it is over.
  bool on_thread(std::function<void()> work, milliseconds patience) {
    std::unique_lock lock(mutex);
    const auto deadline = Clock::now() + patience;
    if (!changed.wait_until(lock, deadline, [&] { return !task || ended; }) || ended) return false;
    const auto over = std::make_shared<bool>(false);
    task = [work = std::move(work), over, this] {
      work();
      const std::scoped_lock done(mutex);
      *over = true;
    };
    changed.notify_all();
    return changed.wait_until(lock, deadline, [&] { return *over || ended; }) && *over;
  }

  // --- on the thread ---

  void run() {
    while (true) {
      std::function<void()> work;
      {
        std::unique_lock lock(mutex);
        changed.wait_for(lock, options.interval, [&] { return task || stopping; });
        if (stopping && !task) break;
        work = task;
      }
      if (work) {
        work();
        const std::scoped_lock lock(mutex);
        task = nullptr;
      } else {
        beat();
      }
      changed.notify_all();
    }
    const std::scoped_lock lock(mutex);
    ended = true;
    changed.notify_all();
  }

  // Whether the store answered. A store that is gone is no failure of this rank: what needs it will say so.
  bool beat() {
    std::function<std::string()> carried;
    {
      const std::scoped_lock lock(mutex);
      carried = positions;
    }
    std::string along = carried ? carried() : "";
    if (along.empty()) along = kNoPositions;
    std::string value;
    {
      const std::scoped_lock lock(mutex);
      value = fmt::format("{} {} {} {}", ran().count(), state, along, operation);
    }
    try {
      store->set(key_of(rank), value);
      const int64_t news = store->add("news", 0);
      if (news != news_read) read_news();
      news_read = news;
      const std::scoped_lock lock(mutex);
      last_answer = Clock::now();
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  void read_news() {
    if (store->check({"verdict"})) {
      const std::string known = store->get_to_str("verdict");
      const std::scoped_lock lock(mutex);
      verdict = known;
    }
    for (const News news : {News::kSlow, News::kFailed}) {
      if (!store->check({key_of(news)})) continue;
      const std::string text = store->get_to_str(key_of(news));
      if (std::exchange(news_told[news], text) == text) continue;
      std::function<void(News, const std::string&)> action;
      {
        const std::scoped_lock lock(mutex);
        action = on_news;
      }
      if (action) action(news, text);
    }
  }

  void write_news(News news, const std::string& text) {
    try {
      if (news == News::kFailed) {
        store->compareSet(key_of(news), std::string(), text);  // the first one stands
      } else {
        store->set(key_of(news), text);
      }
      store->add("news", 1);
    } catch (const std::exception&) {  // the store is gone, and with it whoever would be told
    }
  }

  // What these ranks last wrote; nothing if the store does not answer.
  std::optional<std::map<int64_t, Report>> read(const std::vector<int64_t>& ranks) {
    std::map<int64_t, Report> reports;
    try {
      std::vector<int64_t> present;
      std::vector<std::string> keys;
      for (const int64_t other : ranks) {
        reports[other] = {};
        keys.push_back(key_of(other));
      }
      if (store->check(keys)) {
        present = ranks;
      } else {
        keys.clear();
        for (const int64_t other : ranks) {
          if (!store->check({key_of(other)})) continue;
          present.push_back(other);
          keys.push_back(key_of(other));
        }
      }
      const auto values = store->multiGet(keys);
      for (size_t i = 0; i < values.size(); ++i) {
        reports[present[i]] = parse(std::string(values[i].begin(), values[i].end()));
      }
    } catch (const std::exception&) {
      return std::nullopt;
    }
    return reports;
  }

  std::vector<int64_t> ranks_to_ask(const std::vector<int64_t>& ranks) const {
    std::set<int64_t> asked(ranks.begin(), ranks.end());
    if (static_cast<size_t>(world_size) <= kMostRanksAsked) {
      for (int64_t other = 0; other < world_size; ++other) asked.insert(other);
    }
    asked.erase(rank);
    return {asked.begin(), asked.end()};
  }

  // The reason, as soon as it is certain. `first` was read at least two intervals before `now`.
  std::string culprit(const std::map<int64_t, Report>& first, const std::map<int64_t, Report>& now) const {
    for (const auto& [other, report] : now) {
      if (report.state == kFailed) return fmt::format("rank {} failed by itself", other);
    }
    std::vector<int64_t> silent;
    milliseconds longest{0};
    for (const auto& [other, report] : now) {
      const milliseconds age = ran() - report.ran;
      const bool moved = report.ran != first.at(other).ran;
      if (report.state != kRunning || moved || age < options.silent_after) continue;
      silent.push_back(other);
      longest = std::max(longest, age);
    }
    if (silent.empty()) return "";
    return fmt::format("{} {} not been heard of for {}", name_of_ranks(silent), silent.size() == 1 ? "has" : "have",
                       in_seconds(longest));
  }

  // Nobody fell silent: what each of the operation's ranks does.
  static std::string everybody(const std::map<int64_t, Report>& reports, const std::vector<int64_t>& ranks) {
    constexpr size_t kMostShown = 8;
    std::string text = "all ranks are there";
    size_t shown = 0;
    for (const auto& [other, report] : reports) {
      if (!std::binary_search(ranks.begin(), ranks.end(), other) || ++shown > kMostShown) continue;
      const bool waited = report.state == kWaited || report.state == kTold;
      text += waited                  ? fmt::format("; rank {} waited in {}", other, report.operation)
              : report.state == kDone ? fmt::format("; rank {} had finished", other)
                                      : fmt::format("; rank {} did not take part", other);
    }
    return text;
  }

  std::string own_operation() {
    const std::scoped_lock lock(mutex);
    return operation;
  }

  std::string investigate(const std::vector<int64_t>& ranks) {
    const std::vector<int64_t> asked = ranks_to_ask(ranks);
    const auto begin = Clock::now();
    const auto deadline = begin + options.silent_after + 3 * options.interval;
    const std::string gone = store_host + " is stopped or gone: it serves the store, which does not answer";

    write_news(News::kFailed, fmt::format("rank {} waited in vain in {}", rank, own_operation()));
    bool answered = beat();
    const auto first = read(asked);
    while (first && answered) {
      {
        const std::scoped_lock lock(mutex);
        if (!verdict.empty()) return verdict;
      }
      std::this_thread::sleep_for(options.interval);
      answered = beat();
      const auto now = read(asked);
      if (!now) break;
      std::string reason;
      if (Clock::now() - begin >= 2 * options.interval) reason = culprit(*first, *now);
      if (!reason.empty()) return settle(reason);
      if (Clock::now() > deadline) return everybody(*now, ranks);
    }
    const std::scoped_lock lock(mutex);
    return verdict.empty() ? gone : verdict;
  }

  // Lets whoever serves the store know that this rank needs it no longer.
  void say_told() {
    {
      const std::scoped_lock lock(mutex);
      if (state == kWaited) state = kTold;
    }
    beat();
  }

  // Publishes `reason`, unless another rank was first; returns the one that stands.
  std::string settle(const std::string& reason) {
    std::string standing = reason;
    try {
      standing = store->compareSet("verdict", std::string(), reason);
      store->add("news", 1);
    } catch (const std::exception&) {  // the store is gone: our own finding stands
    }
    const std::scoped_lock lock(mutex);
    verdict = standing;
    return standing;
  }
};

Heartbeat::Heartbeat(c10::intrusive_ptr<c10d::Store> store, int64_t rank, int64_t world_size, std::string store_host,
                     HeartbeatOptions options)
    : shared_(std::make_shared<Shared>()) {
  shared_->store = std::move(store);
  shared_->rank = rank;
  shared_->world_size = world_size;
  shared_->store_host = std::move(store_host);
  shared_->options = options;
  std::thread([shared = shared_] { shared->run(); }).detach();
  shared_->on_thread([shared = shared_.get()] { shared->beat(); }, options.silent_after);
}

Heartbeat::~Heartbeat() {
  say_goodbye(Ending::kDone);
  std::unique_lock lock(shared_->mutex);
  shared_->stopping = true;
  shared_->changed.notify_all();
  shared_->changed.wait_for(lock, shared_->options.silent_after, [&] { return shared_->ended; });
}

void Heartbeat::say_goodbye(Ending ending) {
  {
    const std::scoped_lock lock(shared_->mutex);
    if (shared_->state != kRunning) return;
    shared_->state = ending == Ending::kDone ? kDone : kFailed;
  }
  shared_->on_thread(
      [shared = shared_.get(), ending] {
        if (ending == Ending::kFailed) {
          shared->write_news(News::kFailed, fmt::format("rank {} failed by itself", shared->rank));
        }
        shared->beat();
      },
      shared_->options.silent_after);
}

void Heartbeat::carry(std::function<std::string()> positions) {
  const std::scoped_lock lock(shared_->mutex);
  shared_->positions = std::move(positions);
}

void Heartbeat::on_news(std::function<void(News news, const std::string& text)> action) {
  const std::scoped_lock lock(shared_->mutex);
  shared_->on_news = std::move(action);
}

void Heartbeat::tell(News news, const std::string& text) {
  shared_->on_thread(
      [shared = shared_.get(), news, text] {
        shared->write_news(news, text);
        shared->beat();
      },
      shared_->options.silent_after);
}

std::map<int64_t, Heartbeat::Peer> Heartbeat::look_at(const std::vector<int64_t>& ranks) {
  const auto peers = std::make_shared<std::map<int64_t, Peer>>();
  const bool over = shared_->on_thread(
      [shared = shared_.get(), peers, ranks] {
        const auto reports = shared->read(ranks);
        if (!reports) return;
        for (const auto& [other, report] : *reports) {
          const milliseconds age = shared->ran() - report.ran;
          const bool runs = report.state == kRunning;
          (*peers)[other] = {.is_silent = runs && age > shared->options.silent_after,
                             .has_ended = report.state == kDone || report.state == kFailed,
                             .age = age,
                             .positions = report.positions};
        }
      },
      shared_->options.silent_after + shared_->options.interval);
  return over ? *peers : std::map<int64_t, Peer>{};
}

bool Heartbeat::waited() const {
  const std::scoped_lock lock(shared_->mutex);
  return shared_->state == kWaited || shared_->state == kTold;
}

std::string Heartbeat::blame(const std::string& operation, const std::vector<int64_t>& ranks) {
  const HeartbeatOptions& options = shared_->options;
  milliseconds patience = options.silent_after + 8 * options.interval;
  {
    const std::scoped_lock lock(shared_->mutex);
    if (shared_->state == kRunning) {
      shared_->state = kWaited;
      shared_->operation = operation;
    }
    // The thread hangs in the store already.
    if (Clock::now() - shared_->last_answer > options.silent_after) patience = 2 * options.interval;
  }
  const auto answer = std::make_shared<std::string>();
  const bool over = shared_->on_thread(
      [shared = shared_.get(), answer, ranks] {
        *answer = shared->investigate(ranks);
        shared->say_told();
      },
      patience);
  if (over) return *answer;
  const std::scoped_lock lock(shared_->mutex);
  if (!shared_->verdict.empty()) return shared_->verdict;
  const auto silence = std::chrono::duration_cast<milliseconds>(Clock::now() - shared_->last_answer);
  return fmt::format("{} is stopped or gone: it serves the store, which has not answered for {}", shared_->store_host,
                     in_seconds(silence));
}

void Heartbeat::wait_for_others(milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  const auto others = std::make_shared<std::vector<int64_t>>();
  for (int64_t other = 0; other < shared_->world_size; ++other) {
    if (other != shared_->rank) others->push_back(other);
  }
  const auto gone = std::make_shared<bool>(false);
  while (Clock::now() < deadline && !*gone) {
    const bool over = shared_->on_thread(
        [shared = shared_.get(), others, gone] {
          shared->beat();
          const auto reports = shared->read(*others);
          *gone = !reports || std::all_of(reports->begin(), reports->end(), [&](const auto& entry) {
            const bool needs_store = entry.second.state == kRunning || entry.second.state == kWaited;
            return !needs_store || shared->ran() - entry.second.ran > shared->options.silent_after;
          });
        },
        shared_->options.silent_after);
    if (!over) return;
    if (!*gone) std::this_thread::sleep_for(milliseconds(50));
  }
}

}  // namespace titan::distributed
