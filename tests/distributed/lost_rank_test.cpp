// Ranks as processes: one of three is lost, and the others say which.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <regex>
#include <thread>

#include "tests/support/backends.h"
#include "tests/support/run_program.h"

namespace titan::distributed {
namespace {

constexpr int kNumRanks = 3;

int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

struct Loss {
  int rank, signal;
};

std::vector<test::Finished> run_ranks_as_processes(const std::string& backend, const std::string& scenario,
                                                   int timeout_seconds, std::optional<Loss> loss) {
  const std::string port = std::to_string(free_port());
  std::vector<test::Finished> finished(kNumRanks);
  std::vector<std::thread> threads;
  threads.reserve(kNumRanks);
  for (int rank = 0; rank < kNumRanks; ++rank) {
    threads.emplace_back([&, rank] {
      test::RunOptions options;
      // A stopped rank does not end by itself. To the others it makes no difference when it is killed.
      const bool stopped = loss && loss->rank == rank && loss->signal == SIGSTOP;
      options.timeout_seconds = stopped ? 9 : 120;
      options.environment = {{"RANK", std::to_string(rank)},
                             {"WORLD_SIZE", std::to_string(kNumRanks)},
                             {"MASTER_ADDR", "127.0.0.1"},
                             {"MASTER_PORT", port},
                             {"OMP_NUM_THREADS", "1"}};
      if (loss && loss->rank == rank) options.signal = {loss->signal, "ready"};
      finished[static_cast<size_t>(rank)] =
          test::run_program({TITAN_RANK_PROGRAM, backend, scenario, std::to_string(timeout_seconds)}, options);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return finished;
}

class LostRank : public testing::TestWithParam<test::BackendCase> {
 protected:
  static std::vector<test::Finished> run_job(const std::string& scenario, int timeout_seconds,
                                             std::optional<Loss> loss = {}) {
    return run_ranks_as_processes(GetParam().backend, scenario, timeout_seconds, loss);
  }
};

// Every rank but `lost` ended with 1 and one line that holds `reason`.
void expect_all_blame(const std::vector<test::Finished>& finished, int lost, const std::string& reason) {
  for (int rank = 0; rank < kNumRanks; ++rank) {
    if (rank == lost) continue;
    const test::Finished& survivor = finished[static_cast<size_t>(rank)];
    EXPECT_EQ(survivor.exit_code, 1) << "rank " << rank;
    EXPECT_NE(survivor.err.find(reason), std::string::npos) << "rank " << rank << ": " << survivor.err;
    EXPECT_EQ(survivor.err.find("all_reduce of Float [1000] (operation "), 0U)
        << "rank " << rank << ": " << survivor.err;
    EXPECT_EQ(survivor.err.find('\n'), survivor.err.size() - 1) << "rank " << rank << ": " << survivor.err;
  }
}

TEST_P(LostRank, NobodyIsLostInAGoodEnd) {
  for (const test::Finished& rank : run_job("end", 60)) {
    EXPECT_EQ(rank.exit_code, 0) << rank.err;
    EXPECT_EQ(rank.err, "");
  }
}

TEST_P(LostRank, ThatIsKilledIsNamed) {
  for (const int lost : {1, 2}) {
    expect_all_blame(run_job("loop", 60, Loss{lost, SIGKILL}), lost,
                     "rank " + std::to_string(lost) + " has not been heard of for ");
  }
}

// The shared memory's own words, which stand at the end: noticed within a second, and which process it was.
TEST(LostRankOnShm, IsNoticedWithinASecond) {
  const auto finished = run_ranks_as_processes("shm", "loop", 60, Loss{1, SIGKILL});
  for (const int rank : {0, 2}) {
    const std::string& message = finished[static_cast<size_t>(rank)].err;
    // Whoever saw it first told the other.
    std::smatch found;
    ASSERT_TRUE(std::regex_search(
        message, found,
        std::regex("waited for ([0-9.]+) s \\((rank 1's process [0-9]+ is gone|rank [02] has given up)\\)")))
        << message;
    EXPECT_LE(std::stod(found[1]), 1.0) << message;
  }
}

TEST_P(LostRank, ThatServesTheStoreIsNamedWhenKilled) {
  expect_all_blame(run_job("loop", 60, Loss{0, SIGKILL}), 0, "rank 0 is stopped or gone");
}

TEST_P(LostRank, ThatIsStoppedIsNamedAfterTheTimeout) {
  expect_all_blame(run_job("loop", 3, Loss{2, SIGSTOP}), 2, "rank 2 has not been heard of for ");
}

TEST_P(LostRank, ThatServesTheStoreIsNamedWhenStopped) {
  expect_all_blame(run_job("loop", 3, Loss{0, SIGSTOP}), 0, "rank 0 is stopped or gone");
}

TEST_P(LostRank, ThatThrewIsNamed) {
  const auto finished = run_job("throw", 60);
  EXPECT_EQ(finished[1].err, "a mistake of its own\n");
  expect_all_blame(finished, 1, "rank 1 failed by itself");
}

// Who is wrong cannot be known here; who waited for what can.
TEST_P(LostRank, OfAMismatchAreThoseThatWaited) {
  const auto finished = run_job("mismatch", 2);
  for (const test::Finished& rank : finished) EXPECT_NE(rank.exit_code, 0);
  EXPECT_NE(finished[0].err.find("rank 0 waited for"), std::string::npos) << finished[0].err;
  EXPECT_NE(finished[2].err.find("rank 2 waited for"), std::string::npos) << finished[2].err;
}

INSTANTIATE_TEST_SUITE_P(Backends, LostRank, testing::ValuesIn(test::on_every_backend({kNumRanks})), test::case_name);

}  // namespace
}  // namespace titan::distributed
