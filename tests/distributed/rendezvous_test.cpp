// How ranks meet at an address, and what they say when they do not. Ranks are threads here; each makes its World by
// itself, as a process does.
#include "titan/distributed/rendezvous.h"

#include <arpa/inet.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "tests/support/tensors.h"
#include "titan/distributed/collectives.h"
#include "titan/distributed/world.h"

namespace titan::distributed {
namespace {

using std::chrono::milliseconds;

// A port of the system's choice that somebody listens on, for as long as this lives.
class Listener {
 public:
  Listener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(fd_, 16), 0);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~Listener() { close(fd_); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  int64_t port() const { return port_; }

 private:
  int fd_;
  int64_t port_;
};

int64_t free_port() { return Listener().port(); }

RankInfo rank_of(int64_t rank, int64_t world_size, int64_t port) {
  RankInfo info;
  info.rank = info.local_rank = rank;
  info.world_size = info.local_world_size = world_size;
  info.master_port = port;
  return info;
}

std::string mistake(const RankInfo& info, milliseconds timeout) {
  WorldOptions options;
  options.init_timeout = timeout;
  try {
    World world(info, options);
    return "none: the sum is " +
           std::to_string(all_reduce(at::ones({1}), ReduceOp::kSum, *world.group()).wait().item<float>());
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
}

std::vector<std::string> mistakes(const std::vector<RankInfo>& infos, milliseconds timeout) {
  std::vector<std::string> messages(infos.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < infos.size(); ++i) threads.emplace_back([&, i] { messages[i] = mistake(infos[i], timeout); });
  for (std::thread& thread : threads) thread.join();
  return messages;
}

constexpr milliseconds kLong{60'000}, kShort{1'500}, kAtOnce{20'000};

TEST(Rendezvous, BringsRanksTogetherOverTcp) {
  const int64_t port = free_port();
  for (const std::string& message : mistakes({rank_of(0, 3, port), rank_of(1, 3, port), rank_of(2, 3, port)}, kLong)) {
    EXPECT_EQ(message, "none: the sum is 3.000000");
  }
}

TEST(Rendezvous, NamesTheRanksThatAreMissing) {
  const int64_t port = free_port();
  for (const std::string& message : mistakes({rank_of(0, 5, port), rank_of(3, 5, port)}, kShort)) {
    EXPECT_EQ(message, "ranks 1, 2, 4 of 5 did not come to 127.0.0.1:" + std::to_string(port) +
                           " within 1.5 s (comm.init_timeout_seconds)");
  }
}

TEST(Rendezvous, SaysWhenNobodyIsThere) {
  const int64_t port = free_port();
  const std::string message = mistake(rank_of(1, 2, port), kShort);
  EXPECT_EQ(message, "MASTER_ADDR, MASTER_PORT: rank 1 found no store at 127.0.0.1:" + std::to_string(port) +
                         " within 1.5 s (Connection refused); is rank 0 running there?");
}

TEST(Rendezvous, NamesATakenPortAtOnce) {
  const Listener listener;
  const auto begin = std::chrono::steady_clock::now();
  const std::string message = mistake(rank_of(0, 2, listener.port()), kLong);
  EXPECT_EQ(message, "MASTER_PORT: port " + std::to_string(listener.port()) +
                         " is taken on rank 0's machine: expected a free one; end the program that uses it, or give "
                         "another");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kAtOnce);
}

TEST(Rendezvous, NamesAListenerThatIsNoStore) {
  const Listener listener;
  const std::string message = mistake(rank_of(1, 2, listener.port()), kShort);
  EXPECT_EQ(message.find("MASTER_ADDR, MASTER_PORT: what listens at 127.0.0.1:"), 0U) << message;
}

TEST(Rendezvous, NamesAnAddressThatIsNoneAtOnce) {
  RankInfo info = rank_of(1, 2, free_port());
  info.master_addr = "not an address";
  const auto begin = std::chrono::steady_clock::now();
  const std::string message = mistake(info, kLong);
  EXPECT_EQ(message.find("MASTER_ADDR: expected the name or address of rank 0's host, got 'not an address', which "
                         "cannot be resolved ("),
            0U)
      << message;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kAtOnce);
}

// 192.0.2.1 is for documentation only: no machine has it.
TEST(Rendezvous, NamesAnAddressThatIsNotRankZerosAtOnce) {
  RankInfo info = rank_of(0, 2, free_port());
  info.master_addr = "192.0.2.1";
  const auto begin = std::chrono::steady_clock::now();
  const std::string message = mistake(info, kLong);
  EXPECT_EQ(message.find("MASTER_ADDR: expected an address of rank 0's machine, got '192.0.2.1', through which rank 0 "
                         "does not reach its own port "),
            0U)
      << message;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kAtOnce);
}

TEST(Rendezvous, NamesDisagreeingWorldSizesAtOnceOnAllRanks) {
  const int64_t port = free_port();
  const auto begin = std::chrono::steady_clock::now();
  for (const std::string& message : mistakes({rank_of(0, 3, port), rank_of(1, 3, port), rank_of(2, 4, port)}, kLong)) {
    EXPECT_EQ(message.find("WORLD_SIZE: expected the same on all ranks, got "), 0U) << message;
    EXPECT_NE(message.find("4 on rank 2"), std::string::npos) << message;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kAtOnce);
}

TEST(Rendezvous, NamesARankThatIsThereTwiceAtOnceOnAllRanks) {
  const int64_t port = free_port();
  const auto begin = std::chrono::steady_clock::now();
  for (const std::string& message : mistakes({rank_of(0, 3, port), rank_of(1, 3, port), rank_of(1, 3, port)}, kLong)) {
    EXPECT_EQ(message, "RANK: expected each number once, got 1 from two processes; do two jobs use 127.0.0.1:" +
                           std::to_string(port) + "?");
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kAtOnce);
}

}  // namespace
}  // namespace titan::distributed
