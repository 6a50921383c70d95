#include "titan/distributed/world.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>

#include <algorithm>
#include <exception>
#include <numeric>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "titan/distributed/failure.h"
#include "titan/distributed/heartbeat.h"
#include "titan/distributed/recorder/flight_recorder.h"
#include "titan/distributed/recorder/watchdog.h"
#include "titan/distributed/rendezvous.h"

namespace titan::distributed {
namespace {

constexpr std::string_view kFake = "fake";

// A store takes some ten thousand writes a second, so that of a large job hears from each rank less often.
HeartbeatOptions heartbeat_options(int64_t world_size) {
  HeartbeatOptions options;
  options.interval *= 1 + world_size / 1000;
  options.silent_after *= 1 + world_size / 1000;
  return options;
}

// Gloo and the store's server write to connections whose other end may be dead: an error they report, unless SIGPIPE
// ends the process first. (Python, for which they are made, ignores it.) A handler of the program's own stays.
void ignore_sigpipe() {
  struct sigaction action {};
  if (sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
}

// Part of every key that a backend makes.
std::string group_key(const std::vector<int64_t>& ranks) { return "group/" + key_of_ranks(ranks); }

}  // namespace

World::World(RankInfo info, WorldOptions options)
    : info_(std::move(info)), options_(std::move(options)), timeout_(options_.init_timeout) {
  if (!options_.make_backend) options_.make_backend = backend_factory(options_.backend);
  if (info_.world_size == 1 || options_.backend == kFake) {
    store_ = c10::make_intrusive<c10d::HashStore>();
    if (info_.world_size > 1) record_operations();
    return;
  }
  ignore_sigpipe();
  const auto deadline = std::chrono::steady_clock::now() + timeout_;
  store_ = open_store(info_, timeout_);
  join(deadline);
}

World::World(RankInfo info, c10::intrusive_ptr<c10d::Store> store, WorldOptions options)
    : info_(std::move(info)), options_(std::move(options)), timeout_(options_.init_timeout), store_(std::move(store)) {
  if (!options_.make_backend) options_.make_backend = backend_factory(options_.backend);
  if (info_.world_size > 1 && options_.backend != kFake) join(std::chrono::steady_clock::now() + timeout_);
}

void World::join(std::chrono::steady_clock::time_point deadline) {
  ignore_sigpipe();
  store_->setTimeout(options_.init_timeout);
  local_address_ = roll_call(*store_, info_, timeout_, deadline);
  // A connection of its own, so that it goes on while this one waits.
  heartbeat_ =
      std::make_shared<Heartbeat>(store_->clone(), info_.rank, info_.world_size,
                                  info_.agent_hosts_store ? "torchrun's agent at " + info_.master_addr : "rank 0",
                                  heartbeat_options(info_.world_size));
  record_operations();
}

void World::record_operations() {
  if (options_.recorder.capacity == 0) return;
  recorder_ = std::make_shared<recorder::FlightRecorder>(options_.recorder.capacity);
  watchdog_ = std::make_shared<recorder::Watchdog>(recorder_, heartbeat_, rank(), size(),
                                                   recorder::WatchdogOptions{.dump_path = options_.recorder.dump_path});
}

World::~World() {
  const bool failing = std::uncaught_exceptions() > 0;
  // Where an operation failed there is a dump already.
  if (failing && watchdog_ && !(heartbeat_ && heartbeat_->waited())) {
    watchdog_->dump(recorder::Reason::kException, "");
  }
  if (heartbeat_) {
    heartbeat_->say_goodbye(failing ? Heartbeat::Ending::kFailed : Heartbeat::Ending::kDone);
    // After a failure of this rank there is nothing to tell. After one of another, the beats of the others fetch the
    // reason out of the store.
    const std::chrono::milliseconds beats = 3 * heartbeat_options(size()).interval;
    const auto patience = !failing ? timeout_ : heartbeat_->waited() ? beats : std::chrono::milliseconds(0);
    if (serves_store(info_)) heartbeat_->wait_for_others(patience);
  }
  for (const auto& [ranks, group] : groups_) {
    if (failing) group->abandon();
  }
}

std::shared_ptr<ProcessGroup> World::group(std::vector<int64_t> ranks) {
  std::sort(ranks.begin(), ranks.end());
  const auto known = groups_.find(ranks);
  if (known != groups_.end()) return known->second;

  TORCH_CHECK_VALUE(!ranks.empty() && ranks.front() >= 0 && ranks.back() < size() &&
                        std::adjacent_find(ranks.begin(), ranks.end()) == ranks.end(),
                    "World::group: expected different ranks from 0 to ", size() - 1, ", got [",
                    fmt::to_string(fmt::join(ranks, ", ")), "]");
  const auto own = std::lower_bound(ranks.begin(), ranks.end(), rank());
  TORCH_CHECK_VALUE(own != ranks.end() && *own == rank(), "World::group: expected a group of this rank (", rank(),
                    ") among others, got ", name_of_ranks(ranks));
  BackendRequest request;
  request.rank = own - ranks.begin();
  request.size = static_cast<int64_t>(ranks.size());
  request.ranks = ranks;
  request.timeout = timeout_;
  request.local_address = local_address_;
  c10::intrusive_ptr<c10d::Backend> backend, device_backend;
  if (request.size > 1) {
    const auto group_store = c10::make_intrusive<c10d::PrefixStore>(group_key(ranks), store_);
    request.store = group_store;
    const auto begin = std::chrono::steady_clock::now();
    try {
      backend = options_.make_backend(request);
      if (options_.make_device_backend) {
        request.store = c10::make_intrusive<c10d::PrefixStore>("device", group_store);
        device_backend = options_.make_device_backend(request);
      }
    } catch (const c10::ValueError&) {  // a mistake of the user's, which no other rank made
      throw;
    } catch (const std::exception& error) {
      throw_failure("connecting " + name_of_ranks(ranks), ranks, rank(), begin, heartbeat_.get(), error);
    }
  }
  const auto name = names_.find(ranks);
  GroupObservers observers{.name = name != names_.end()     ? name->second
                                   : request.size == size() ? "world"
                                                            : "",
                           .heartbeat = heartbeat_,
                           .recorder = recorder_,
                           .watchdog = watchdog_,
                           .before_operation = options_.before_operation};
  auto group = std::make_shared<ProcessGroup>(ranks, request.rank, std::move(backend), std::move(device_backend),
                                              timeout_, std::move(observers));
  if (options_.make_device_partwise && request.size > 1) {
    request.store = c10::make_intrusive<c10d::PrefixStore>(group_key(ranks) + "/partwise", store_);
    group->set_device_partwise([make = options_.make_device_partwise, request] { return make(request); });
  }
  return groups_.emplace(std::move(ranks), std::move(group)).first->second;
}

std::shared_ptr<ProcessGroup> World::group() {
  std::vector<int64_t> ranks(static_cast<size_t>(size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return group(std::move(ranks));
}

void World::name_group(std::vector<int64_t> ranks, const std::string& name) {
  std::sort(ranks.begin(), ranks.end());
  names_.try_emplace(std::move(ranks), name);
}

void World::set_timeout(std::chrono::milliseconds timeout) {
  timeout_ = timeout;
  for (const auto& [ranks, group] : groups_) group->set_timeout(timeout);
}

}  // namespace titan::distributed
