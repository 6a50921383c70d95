#include "titan/distributed/rendezvous.h"

#include <c10/util/Exception.h>
#include <c10/util/Logging.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <vector>

#include "titan/distributed/host_address.h"
#include "titan/distributed/process_group.h"

namespace titan::distributed {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// "joined" is written once: by the last rank to come, or by one that sees why the job cannot start.
constexpr char kJoined[] = "joined", kAll[] = "all", kWrong[] = "wrong: ", kMissing[] = "missing: ";

std::string in_seconds(milliseconds time) {
  return fmt::format("{:g} s", std::round(static_cast<double>(time.count()) / 100) / 10);
}

// c10d logs failed calls of a store, each with a page of trace; here they are exceptions, and expected when ranks die.
// TORCH_CPP_LOG_LEVEL is how a user asks for the pages.
constexpr int kErrors = 2, kFatal = 3;
void log_from(int level) {
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = level;
}

std::string place(const RankInfo& info) { return fmt::format("{}:{}", info.master_addr, info.master_port); }

// What `work` returns, on a thread of its own, which is left behind if it is not over in time: a store whose process is
// stopped, or a program that is no store, never answers.
template <class Result>
std::optional<Result> within(milliseconds patience, std::function<Result()> work) {
  auto task = std::make_shared<std::packaged_task<Result()>>(std::move(work));
  std::future<Result> result = task->get_future();
  std::thread([task] { (*task)(); }).detach();
  if (result.wait_for(patience) != std::future_status::ready) return std::nullopt;
  return result.get();
}

c10::intrusive_ptr<c10d::TCPStore> serve(const RankInfo& info, milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(info.master_port);
  options.isServer = true;
  options.waitWorkers = false;
  options.timeout = timeout;
  c10::intrusive_ptr<c10d::TCPStore> store;
  try {
    // By a name of this machine, whatever others call it.
    store = c10::make_intrusive<c10d::TCPStore>("localhost", options);
  } catch (const std::exception& error) {
    const std::string reason = error.what();
    TORCH_CHECK_VALUE(reason.find("EADDRINUSE") == std::string::npos && reason.find("in use") == std::string::npos,
                      "MASTER_PORT: port ", info.master_port,
                      " is taken on rank 0's machine: expected a free one; end the program that uses it, or give "
                      "another");
    TORCH_CHECK(false, "rank 0 cannot serve the store at port ", info.master_port, ": ",
                reason.substr(0, reason.find('\n')));
  }
  // Now somebody does listen, so an address that is refused leads elsewhere.
  constexpr milliseconds kPatience{5000};
  std::string why;
  TORCH_CHECK_VALUE(can_connect(info.master_addr, info.master_port, /*retry=*/false, Clock::now() + kPatience, why),
                    "MASTER_ADDR: expected an address of rank 0's machine, got '", info.master_addr,
                    "', through which rank 0 does not reach its own port ", info.master_port, " (", why, ")");
  return store;
}

c10::intrusive_ptr<c10d::TCPStore> connect(const RankInfo& info, milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  std::string why;
  TORCH_CHECK_VALUE(can_connect(info.master_addr, info.master_port, /*retry=*/true, deadline, why),
                    "MASTER_ADDR, MASTER_PORT: rank ", info.rank, " found no store at ", place(info), " within ",
                    in_seconds(timeout), " (", why, "); is rank 0 running there?");
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(info.master_port);
  options.waitWorkers = false;
  options.timeout = timeout;
  const auto connected = within<c10::intrusive_ptr<c10d::TCPStore>>(
      timeout, [host = info.master_addr, options]() -> c10::intrusive_ptr<c10d::TCPStore> {
        log_from(kFatal);
        c10::intrusive_ptr<c10d::TCPStore> store;
        try {
          store = c10::make_intrusive<c10d::TCPStore>(host, options);
        } catch (const std::exception&) {  // null says it
        }
        log_from(kErrors);
        return store;
      });
  TORCH_CHECK_VALUE(connected && *connected, "MASTER_ADDR, MASTER_PORT: what listens at ", place(info),
                    " does not answer as a store within ", in_seconds(timeout), "; is it rank 0 of this job?");
  return *connected;
}

void publish(c10d::Store& store, const std::string& verdict) { store.compareSet(kJoined, std::string(), verdict); }

// What makes the job impossible is told to all, and thrown by whoever reads it.
void register_rank(c10d::Store& store, const RankInfo& info) {
  const std::string own = fmt::format("{} on rank {}", info.world_size, info.rank);
  const std::string first = store.compareSet("world_size", std::string(), own);
  int64_t agreed = 0;
  std::from_chars(first.data(), first.data() + first.size(), agreed);
  if (agreed != info.world_size) {
    publish(store, kWrong + fmt::format("WORLD_SIZE: expected the same on all ranks, got {} and {}", first, own));
  }
  if (store.add(fmt::format("rank/{}", info.rank), 1) != 1) {
    publish(store,
            kWrong + fmt::format("RANK: expected each number once, got {} from two processes; do two jobs use {}?",
                                 info.rank, place(info)));
  }
}

std::string missing_ranks(c10d::Store& store, const RankInfo& info, milliseconds timeout) {
  std::vector<int64_t> missing;
  for (int64_t rank = 0; rank < info.world_size; ++rank) {
    if (!store.check({fmt::format("rank/{}", rank)})) missing.push_back(rank);
  }
  // The last one may come while we count.
  if (missing.empty()) return kAll;
  return kMissing + fmt::format("{} of {} did not come to {} within {} (comm.init_timeout_seconds)",
                                name_of_ranks(missing), info.world_size, place(info), in_seconds(timeout));
}

std::string wait_for_verdict(c10d::Store& store, const RankInfo& info, milliseconds timeout,
                             Clock::time_point deadline) {
  constexpr milliseconds kAtLeast{100};
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
  bool store_answers = true;
  try {
    store.wait({kJoined}, std::max(left, kAtLeast));
  } catch (const std::exception&) {  // the usual reason is the timeout, and then the store answers
    try {
      publish(store, missing_ranks(store, info, timeout));
    } catch (const std::exception&) {
      store_answers = false;
    }
  }
  TORCH_CHECK(store_answers, "rank 0, which serves the store at ", place(info), ", ended before all ranks had come");
  return store.get_to_str(kJoined);
}

// The store ends with the rank that serves it, so that one leaves last; but it does not wait for long.
void tell_others(c10d::Store& store, const RankInfo& info, const std::string& verdict) {
  constexpr milliseconds kPatience{3000};
  const auto deadline = Clock::now() + kPatience;
  // Some may still be on their way, unless it is because they did not come.
  const bool all_are_here = verdict.rfind(kMissing, 0) == 0;
  store.add("num_told", 1);
  while (serves_store(info) && Clock::now() < deadline &&
         store.add("num_told", 0) < (all_are_here ? store.add("num_joined", 0) : info.world_size)) {
    std::this_thread::sleep_for(milliseconds(20));
  }
}

std::string own_address(c10d::Store& store, const RankInfo& info, const std::string& machine) {
  if (store.add("machine/" + machine, 0) == info.world_size) return "127.0.0.1";
  // The way to rank 0 tells which address others see; on rank 0's own machine, the way to any other.
  std::string address = local_address_towards(info.master_addr);
  if (!address.empty() && !is_loopback(address)) {
    store.set("address", address);
    return address;
  }
  store.wait({"address"});
  return local_address_towards(store.get_to_str("address"));
}

}  // namespace

bool serves_store(const RankInfo& info) { return info.rank == 0 && !info.agent_hosts_store; }

c10::intrusive_ptr<c10d::Store> open_store(const RankInfo& info, milliseconds timeout) {
  log_from(kErrors);
  check_host(info.master_addr);
  const auto store = serves_store(info) ? serve(info, timeout) : connect(info, timeout);
  return c10::make_intrusive<c10d::PrefixStore>(fmt::format("titan/{}", info.restart_count), store);
}

std::string roll_call(c10d::Store& store, const RankInfo& info, milliseconds timeout, Clock::time_point deadline) {
  const std::string machine = network_identity();
  register_rank(store, info);
  store.add("machine/" + machine, 1);
  if (store.add("num_joined", 1) == info.world_size) publish(store, kAll);
  const std::string verdict = wait_for_verdict(store, info, timeout, deadline);
  if (verdict != kAll) {
    tell_others(store, info, verdict);
    TORCH_CHECK_VALUE(verdict.rfind(kWrong, 0) != 0, verdict.substr(sizeof(kWrong) - 1));
    TORCH_CHECK(false, verdict.substr(sizeof(kMissing) - 1));
  }
  return own_address(store, info, machine);
}

}  // namespace titan::distributed
